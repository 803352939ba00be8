"""One pass over endpoints with all providers: the columns of the file of answers, and counts.

The stage that writes the file is `enrich.py`.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.lookup import (
    ANSWERED,
    NOT_FOUND,
    STATES,
    FreeLookup,
    Lookup,
    Outcome,
)
from mt_pipeline.enrichment.paid_lookup import PaidLookup
from mt_pipeline.enrichment.precedence import TYPES, Known, columns_of
from mt_pipeline.enrichment.provider import FreeProvider, PaidProvider, Provider

logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("endpoint", pa.string()),
        ("state", pa.string()),
        ("provider", pa.string()),
        ("asked_at", pa.timestamp("us", tz="UTC")),
        ("owed", pa.bool_()),
        *TYPES.items(),
    ]
)
"""Columns of the file of answers, which has a row per endpoint.

- `state`: answered, failed, not_found, pending or not_asked.
- `provider`: the providers that filled a field, in order, separated by commas; or the first that
  answered that it knows nothing.
- `asked_at`: when a paid provider last gave its answer.
- `owed`: whether a paid provider owes a fresh answer.
- The facts, NULL where nothing is known.
"""

SECONDS_BETWEEN_LOGS = 10
SECONDS_BETWEEN_PROGRESS = 0.5

_HAS_ANSWER = pa.array([STATES.index(NOT_FOUND), STATES.index(ANSWERED)], pa.int8())

Progress = Callable[[Counts, int], None]


def lookup_of(
    provider: Provider,
    store: AnswerStore | None,
    *,
    ask: bool,
    as_of: datetime | None,
    counts_use: bool = True,
) -> Lookup:
    """Return the look-up with a provider; see `enrich` and `PaidLookup`."""
    if isinstance(provider, FreeProvider):
        return FreeLookup(provider)
    if not isinstance(provider, PaidProvider):
        raise TypeError(f"{provider.name!r} can neither look up nor ask")
    if store is None:
        raise ValueError(f"{provider.name!r} needs a store for its answers")
    return PaidLookup(provider, store, ask=ask, as_of=as_of, counts_use=counts_use)


class Chain:
    """One pass over the endpoints with all providers; it returns rows and counts them.

    Args:
        lookups: in the order of their providers.
        total: the number of all endpoints, for messages; None for no messages.
        progress: see `enrich`.
    """

    def __init__(
        self, lookups: Sequence[Lookup], total: int | None, progress: Progress | None = None
    ) -> None:
        self._lookups = lookups
        self._total = total
        self._progress = progress
        self._numbers = dict.fromkeys((*STATES, "owed"), 0)
        self._logged = self._shown = time.monotonic()

    def counts(self) -> Counts:
        """Return the counts so far."""
        each = {lookup.name: lookup.counts() for lookup in self._lookups}
        return Counts(
            endpoints=sum(self._numbers[state] for state in STATES),
            cached=sum(counts.cached for counts in each.values()),
            asked=sum(counts.asked for counts in each.values()),
            stale=sum(counts.stale for counts in each.values()),
            stopped="; ".join(counts.stopped for counts in each.values() if counts.stopped) or None,
            by_provider=each,
            **self._numbers,
        )

    def answers(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Look up endpoints with all providers, and return rows with SCHEMA.

        Args:
            batch: columns kind and endpoint.
        """
        known = Known(batch.num_rows)
        states = np.zeros(batch.num_rows, np.int8)
        owed = np.zeros(batch.num_rows, np.bool_)
        for lookup in self._lookups:
            eligible = pc.is_in(batch["kind"], pa.array(sorted(lookup.kinds), pa.string()))
            lacking = pc.and_(eligible, known.lacking(batch["kind"]))
            rows = np.flatnonzero(lacking.to_numpy(zero_copy_only=False))
            outcome = lookup.look_up(batch.take(pa.array(rows)), self._report)
            _add(known, lookup.name, outcome, rows, batch.num_rows)
            states[rows] = np.maximum(states[rows], outcome.states)
            if outcome.owed is not None:
                owed[rows] |= outcome.owed
        for index, state in enumerate(STATES):
            self._numbers[state] += int((states == index).sum())
        self._numbers["owed"] += int(owed.sum())
        self._report(0)
        columns = {
            **known.columns(),
            "state": pa.array(STATES).take(pa.array(states)),
            "owed": pa.array(owed),
            "kind": batch["kind"],
            "endpoint": batch["endpoint"],
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def _report(self, done_in_batch: int) -> None:
        if self._total is None:
            return
        now = time.monotonic()
        progress = self._progress if now - self._shown >= SECONDS_BETWEEN_PROGRESS else None
        logs = now - self._logged >= SECONDS_BETWEEN_LOGS
        if progress is None and not logs:
            return
        counts = self.counts()
        counts = replace(counts, endpoints=counts.endpoints + done_in_batch)
        if progress is not None:
            self._shown = now
            progress(counts, self._total)
        if logs:
            self._logged = now
            logger.info(
                f"{counts.endpoints:,} of {self._total:,} endpoints: {counts.cached:,} "
                f"from the cache, {counts.asked:,} asked, {counts.failed:,} failed"
            )


def _add(
    known: Known, provider: str, outcome: Outcome, rows: npt.NDArray[np.intp], size: int
) -> None:
    """Add the outcome for some rows of a batch of `size` rows; the other rows get NULL."""
    positions = np.full(size, -1)
    positions[rows] = np.arange(len(rows))
    indices = pa.array(positions, mask=positions < 0)
    facts = {name: column.take(indices) for name, column in columns_of(outcome.facts).items()}
    asked_at = None
    if outcome.asked_at is not None:
        asked_at = pa.array(outcome.asked_at, pa.timestamp("us", tz="UTC")).take(indices)
    answered = pc.is_in(pa.array(outcome.states).take(indices), _HAS_ANSWER)
    known.add(provider, facts, answered, asked_at)
