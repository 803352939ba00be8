"""How the endpoints of a batch are put to one provider, free or paid, and what becomes of a provider that fails.

A provider that stops is asked no more; the answers of a paid one that are in the store still count, however old: a stale answer beats none.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts, Kind
from mt_pipeline.enrichment.provider import (
    BudgetSpent,
    EndpointFailed,
    FreeProvider,
    PaidProvider,
    ProviderStopped,
)

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 10
"""So many endpoints without an answer, one after the other, are the server's fault: asking on would only cost hours."""

NOT_ASKED, PENDING, NOT_FOUND, FAILED, ANSWERED = STATES = (
    "not_asked",
    "pending",
    "not_found",
    "failed",
    "answered",
)
"""What can become of an endpoint: pending is what a provider was to be asked and was not, because its budget is spent. Of what several providers
say, the last of these counts: "not found" is said by somebody, and a failure needs somebody to look at it."""

States = npt.NDArray[np.int8]
Owed = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Said:
    """What a provider said of some endpoints, in their order.

    Attributes:
        states: places in STATES.
        facts: what is known of each.
        when: when it was asked; None for a free provider.
        owed: whether it owes a fresh answer; None for a free provider.
    """

    states: States
    facts: Sequence[Facts | None]
    when: Sequence[datetime | None] | None = None
    owed: Owed | None = None


class Asking:
    """One walk over the endpoints with one provider; what is common to both sorts.

    Attributes:
        name: of the provider.
        kinds: what it can be asked about.
    """

    def __init__(self, name: str, kinds: frozenset[Kind]) -> None:
        self.name = name
        self.kinds = kinds
        self._n = dict.fromkeys((*STATES, "cached", "asked", "stale", "owed"), 0)
        self._stopped: str | None = None

    def counts(self) -> Counts:
        """Count what became of the endpoints so far."""
        endpoints = sum(self._n[state] for state in STATES)
        numbers: dict[str, int] = self._n
        return Counts(
            endpoints=endpoints,
            stopped=self._stopped,
            **numbers,  # type: ignore[arg-type]  # by_provider is none of its keys
        )

    def said(self, endpoints: pa.RecordBatch, tell: Callable[[int], None]) -> Said:
        """Ask about endpoints, all of `kinds`; each has a state, whatever happens.

        Args:
            endpoints: columns kind and endpoint.
            tell: called now and then with how many are done.

        Raises:
            StoreError: the store cannot be used.
        """
        raise NotImplementedError

    def _count(self, states: States) -> None:
        for place, number in enumerate(np.bincount(states, minlength=len(STATES))):
            self._n[STATES[place]] += int(number)

    def _stop(self, reason: str, level: int = logging.ERROR) -> None:
        self._stopped = reason
        logger.log(level, "%s stopped: %s", self.name, reason)


class AskingFree(Asking):
    """Looks whole batches up, kind by kind."""

    def __init__(self, provider: FreeProvider) -> None:
        super().__init__(provider.name, provider.kinds)
        self._provider = provider

    def said(self, endpoints: pa.RecordBatch, tell: Callable[[int], None]) -> Said:
        """See `Asking.said`."""
        states, facts = (
            np.zeros(endpoints.num_rows, np.int8),
            np.full(endpoints.num_rows, None, object),
        )
        for kind in self.kinds:
            those = pc.equal(endpoints["kind"], kind).to_numpy(zero_copy_only=False)
            found = self._looked_up(kind, endpoints["endpoint"].filter(pa.array(those)).to_pylist())
            if found is not None:
                facts[those] = found
                states[those] = [
                    STATES.index(NOT_FOUND) if one is None else STATES.index(ANSWERED)
                    for one in found
                ]
        self._count(states)
        tell(endpoints.num_rows)
        return Said(states, facts.tolist())

    def _looked_up(self, kind: Kind, endpoints: list[str]) -> Sequence[Facts | None] | None:
        """Look up; None once the provider has failed."""
        if self._stopped is not None:
            return None
        try:
            facts = self._provider.look_up(kind, endpoints)
            if len(facts) != len(endpoints) or not set(map(type, facts)) <= {Facts, type(None)}:
                raise ValueError(  # noqa: TRY301
                    f"it must return facts or None for each of {len(endpoints)} endpoints"
                )  # noqa: RUF100, TRY301
        except (
            Exception
        ) as error:  # it may be anyone's code: whatever is wrong with it, the capture is loaded
            self._stop(
                f"the provider {self.name!r} failed ({type(error).__name__}: {error}); mend it or leave it out of MT_ENRICHMENT"
            )
            return None
        return facts


class AskingPaid(Asking):
    """Asks one by one, by way of the store."""

    def __init__(
        self,
        provider: PaidProvider,
        store: AnswerStore,
        *,
        ask: bool = True,
        as_of: datetime | None = None,
    ) -> None:
        """Prepare.

        Args:
            provider: whom to ask.
            store: the answers so far.
            ask: whether the provider may be asked at all.
            as_of: take what was in the store at that moment instead; then nothing is asked, stale or owed.
        """
        super().__init__(provider.name, provider.kinds)
        self._provider = provider
        self._store = store
        self._asks = ask and as_of is None
        self._as_of = as_of
        self._unasked = NOT_ASKED  # what becomes of an endpoint without an answer that is not asked
        self._failures_in_a_row = 0

    def said(self, endpoints: pa.RecordBatch, tell: Callable[[int], None]) -> Said:
        """See `Asking.said`."""
        wanted = [
            Endpoint(*one)
            for one in zip(
                endpoints["kind"].to_pylist(), endpoints["endpoint"].to_pylist(), strict=True
            )
        ]
        states, answers, owed = (
            np.zeros(len(wanted), np.int8),
            np.full(len(wanted), None, object),
            np.zeros(len(wanted), np.bool_),
        )
        for place, (endpoint, known) in enumerate(
            zip(wanted, self._store.histories(self.name, wanted), strict=True)
        ):
            state, answers[place], owed[place] = self._one(endpoint, known)
            states[place] = STATES.index(state)
            self._n[state] += 1
            self._n["owed"] += int(owed[place])
            tell(place + 1)
        facts = [None if answer is None else answer.facts for answer in answers]
        return Said(
            states, facts, [None if answer is None else answer.asked_at for answer in answers], owed
        )

    def _one(self, endpoint: Endpoint, known: History | None) -> tuple[str, Answer | None, bool]:
        """Return the state of an endpoint, its answer, if there is one, and whether a fresh one is owed."""
        if self._as_of is not None:
            then = known.as_of(self._as_of) if known else None
            return self._found(then) if then else (NOT_ASKED, None, False)
        answer = known.newest if known else None
        if answer and self._store.is_good(answer):
            return self._found(answer)
        state = self._unasked
        if self._may_ask:
            outcome = self._asked(endpoint)
            if isinstance(outcome, Answer):
                return _state_of(outcome), outcome, False
            state = outcome
        else:
            self._store.count(self.name, Tally(hits=1) if answer else Tally(misses=1))
        if answer is None:
            return state, None, True
        self._n["stale"] += 1
        return _state_of(answer), answer, True

    @property
    def _may_ask(self) -> bool:
        return self._asks and self._stopped is None

    def _found(self, answer: Answer) -> tuple[str, Answer | None, bool]:
        self._n["cached"] += 1
        self._store.count(self.name, Tally(hits=1, calls_saved=int(self._may_ask)))
        return _state_of(answer), answer, False

    def _asked(self, endpoint: Endpoint) -> Answer | str:
        """Ask, unless another run did meanwhile; without an answer, the state that this leaves the endpoint in."""
        try:
            answer, asked = self._store.answer(endpoint, self._provider)
        except EndpointFailed as error:
            self._n["asked"] += 1
            self._failures_in_a_row += 1
            logger.warning("%s", error)
            if self._failures_in_a_row == FAILURES_IN_A_ROW:
                self._stop(
                    f"{FAILURES_IN_A_ROW} endpoints in a row got no answer, so the rest is left for the next run; the last: {error}"
                )
            return FAILED
        except BudgetSpent as error:
            self._unasked = PENDING
            self._stop(str(error), logging.WARNING)
            return PENDING
        except ProviderStopped as error:
            self._n["asked"] += 1
            self._stop(str(error))
            return NOT_ASKED
        if asked:
            self._failures_in_a_row = 0
        self._n["asked" if asked else "cached"] += 1
        return answer


def _state_of(answer: Answer) -> str:
    return ANSWERED if answer.found else NOT_FOUND
