"""The look-up with a paid provider: one call per endpoint, through the store of answers.

After the provider has stopped, its answers in the store still count, whatever their age: a stale
answer is better than none.
"""

import logging
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa

from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.lookup import (
    ANSWERED,
    FAILED,
    NOT_ASKED,
    NOT_FOUND,
    PENDING,
    STATES,
    Lookup,
    Outcome,
    endpoints_of,
)
from mt_pipeline.enrichment.models import Answer, Endpoint
from mt_pipeline.enrichment.provider import (
    BudgetSpent,
    EndpointFailed,
    PaidProvider,
    ProviderStopped,
)

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 10
"""After this many failed endpoints in a row, the fault is the server's: more calls waste hours."""


class PaidLookup(Lookup):
    """Asks about one endpoint at a time, unless the store has a good answer."""

    def __init__(
        self,
        provider: PaidProvider,
        store: AnswerStore,
        *,
        ask: bool = True,
        as_of: datetime | None = None,
        counts_use: bool = True,
    ) -> None:
        """Prepare a look-up.

        Args:
            provider: the provider to ask.
            store: its answers so far.
            ask: whether the provider may be asked at all.
            as_of: use the answers that the store had at this time; nothing is asked, stale or owed.
            counts_use: whether the store counts this as a use of its answers.
        """
        super().__init__(provider.name, provider.kinds)
        self._provider = provider
        self._store = store
        self._asks = ask and as_of is None
        self._as_of = as_of
        self._counts_use = counts_use
        self._unasked_state = NOT_ASKED  # of an endpoint that has no answer and is not asked about
        self._failures_in_a_row = 0

    def look_up(self, endpoints: pa.RecordBatch, progress: Callable[[int], None]) -> Outcome:
        """See `Lookup.look_up`."""
        batch = endpoints_of(endpoints)
        states = np.zeros(len(batch), np.int8)
        answers = np.full(len(batch), None, object)
        owed = np.zeros(len(batch), np.bool_)
        histories = self._store.histories(self.name, batch)
        for row, (endpoint, history) in enumerate(zip(batch, histories, strict=True)):
            state, answers[row], owed[row] = self._look_up(endpoint, history)
            states[row] = STATES.index(state)
            self._numbers[state] += 1
            self._numbers["owed"] += int(owed[row])
            progress(row + 1)
        return Outcome(
            states,
            facts=[None if answer is None else answer.facts for answer in answers],
            asked_at=[None if answer is None else answer.asked_at for answer in answers],
            owed=owed,
        )

    def _look_up(
        self, endpoint: Endpoint, history: History | None
    ) -> tuple[str, Answer | None, bool]:
        """Return the state of an endpoint, its answer if any, and whether a fresh one is owed."""
        if self._as_of is not None:
            earlier = history.as_of(self._as_of) if history else None
            return self._cached(earlier) if earlier else (NOT_ASKED, None, False)
        answer = history.newest if history else None
        if answer and self._store.is_good(answer):
            return self._cached(answer)
        state = self._unasked_state
        if self._may_ask:
            result = self._ask(endpoint)
            if isinstance(result, Answer):
                return state_of(result), result, False
            state = result
        else:
            self._count_use(Tally(hits=1) if answer else Tally(misses=1))
        if answer is None:
            return state, None, True
        self._numbers["stale"] += 1
        return state_of(answer), answer, True

    @property
    def _may_ask(self) -> bool:
        return self._asks and self._stopped is None

    def _cached(self, answer: Answer) -> tuple[str, Answer | None, bool]:
        self._numbers["cached"] += 1
        self._count_use(Tally(hits=1, calls_saved=int(self._may_ask)))
        return state_of(answer), answer, False

    def _count_use(self, tally: Tally) -> None:
        if self._counts_use:
            self._store.count(self.name, tally)

    def _ask(self, endpoint: Endpoint) -> Answer | str:
        """Return an answer, perhaps of a concurrent run; without one, the state of the endpoint."""
        try:
            answer, asked = self._store.answer(endpoint, self._provider)
        except EndpointFailed as error:
            self._numbers["asked"] += 1
            self._failures_in_a_row += 1
            logger.warning("%s", error)
            if self._failures_in_a_row == FAILURES_IN_A_ROW:
                self._stop(
                    f"{FAILURES_IN_A_ROW} endpoints in a row got no answer, "
                    f"so the rest is left for the next run; the last: {error}"
                )
            return FAILED
        except BudgetSpent as error:
            self._unasked_state = PENDING
            self._stop(str(error), logging.WARNING)
            return PENDING
        except ProviderStopped as error:
            self._numbers["asked"] += 1
            self._stop(str(error))
            return NOT_ASKED
        if asked:
            self._failures_in_a_row = 0
        self._numbers["asked" if asked else "cached"] += 1
        return answer


def state_of(answer: Answer) -> str:
    """Return the state of an endpoint with this answer."""
    return ANSWERED if answer.found else NOT_FOUND
