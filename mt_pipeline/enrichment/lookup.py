"""How the endpoints of a batch are looked up with one provider, and the look-up with a free one.

A paid provider is asked in `paid_lookup.py`. A provider that fails is not used again in this run.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.models import Endpoint, Facts, Kind
from mt_pipeline.enrichment.provider import FreeProvider

logger = logging.getLogger(__name__)

NOT_ASKED, PENDING, NOT_FOUND, FAILED, ANSWERED = STATES = (
    "not_asked",
    "pending",
    "not_found",
    "failed",
    "answered",
)
"""States of an endpoint. It is pending if its provider was not asked for lack of budget.

Of the states that several providers leave, the last in this order counts: "not found" is an answer,
and a failure needs attention.
"""

States = npt.NDArray[np.int8]
Owed = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """The result of a look-up of some endpoints, in their order.

    Attributes:
        states: indices of STATES.
        facts: what is known of each endpoint.
        asked_at: when the provider was asked; None for a free provider.
        owed: whether the provider owes a fresh answer; None for a free provider.
    """

    states: States
    facts: Sequence[Facts | None]
    asked_at: Sequence[datetime | None] | None = None
    owed: Owed | None = None


class Lookup:
    """The use of one provider in one run, with its counts; the base of free and paid look-ups.

    Attributes:
        name: name of the provider.
        kinds: kinds of endpoints that the provider knows.
    """

    def __init__(self, name: str, kinds: frozenset[Kind]) -> None:
        self.name = name
        self.kinds = kinds
        self._numbers = dict.fromkeys((*STATES, "cached", "asked", "stale", "owed"), 0)
        self._stopped: str | None = None

    def counts(self) -> Counts:
        """Return the counts so far."""
        numbers: dict[str, int] = self._numbers
        return Counts(
            endpoints=sum(numbers[state] for state in STATES),
            stopped=self._stopped,
            **numbers,  # type: ignore[arg-type]  # by_provider is none of its keys
        )

    def look_up(self, endpoints: pa.RecordBatch, progress: Callable[[int], None]) -> Outcome:
        """Look up endpoints; each gets a state, whatever happens.

        Args:
            endpoints: columns kind and endpoint; all of `kinds`.
            progress: called now and then with the number of endpoints that are done.

        Raises:
            StoreError: the store cannot be used.
        """
        raise NotImplementedError

    def _count(self, states: States) -> None:
        for state, number in zip(STATES, np.bincount(states, minlength=len(STATES)), strict=True):
            self._numbers[state] += int(number)

    def _stop(self, reason: str, level: int = logging.ERROR) -> None:
        self._stopped = reason
        logger.log(level, "%s stopped: %s", self.name, reason)


class FreeLookup(Lookup):
    """Looks up whole batches, kind by kind."""

    def __init__(self, provider: FreeProvider) -> None:
        super().__init__(provider.name, provider.kinds)
        self._provider = provider

    def look_up(self, endpoints: pa.RecordBatch, progress: Callable[[int], None]) -> Outcome:
        """See `Lookup.look_up`."""
        states = np.zeros(endpoints.num_rows, np.int8)
        facts = np.full(endpoints.num_rows, None, object)
        not_found, answered = STATES.index(NOT_FOUND), STATES.index(ANSWERED)
        for kind in self.kinds:
            rows = pc.equal(endpoints["kind"], kind).to_numpy(zero_copy_only=False)
            values = endpoints["endpoint"].filter(pa.array(rows)).to_pylist()
            found = self._facts(kind, values)
            if found is not None:
                facts[rows] = found
                states[rows] = [not_found if fact is None else answered for fact in found]
        self._count(states)
        progress(endpoints.num_rows)
        return Outcome(states, facts.tolist())

    def _facts(self, kind: Kind, endpoints: list[str]) -> Sequence[Facts | None] | None:
        """Return the facts of each endpoint; None once the provider has failed."""
        if self._stopped is not None:
            return None
        try:
            facts = self._provider.look_up(kind, endpoints)
            _check(facts, len(endpoints))
        except Exception as error:  # a provider may be anyone's code, and must not fail a capture
            self._stop(
                f"the provider {self.name!r} failed ({type(error).__name__}: {error}); "
                "fix it or remove it from MT_ENRICHMENT"
            )
            return None
        return facts


def endpoints_of(batch: pa.RecordBatch) -> list[Endpoint]:
    """Return the endpoints of a batch with columns kind and endpoint."""
    pairs = zip(batch["kind"].to_pylist(), batch["endpoint"].to_pylist(), strict=True)
    return [Endpoint(kind, value) for kind, value in pairs]


def _check(facts: Sequence[object], count: int) -> None:
    if len(facts) != count or not set(map(type, facts)) <= {Facts, type(None)}:
        raise ValueError(f"it must return facts or None for each of {count} endpoints")
