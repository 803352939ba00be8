"""The stage: files of endpoints in, a file with what is known of each out, and the counts.

How to ask is not said here (`provider.py`, `asking.py`), nor what is kept (`store.py`), nor whose word counts (`known.py`).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.lookup import (
    ANSWERED,
    NOT_FOUND,
    STATES,
    Asking,
    AskingFree,
    AskingPaid,
)
from mt_pipeline.enrichment.precedence import TYPES, Known, columns_of
from mt_pipeline.enrichment.provider import FreeProvider, PaidProvider, Provider
from mt_pipeline.system.atomic import whole

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
"""Columns of the file of answers, a row per endpoint: state is answered, failed, not_found, pending or not_asked; provider is who filled a field, in
order, separated by commas, or who said that it knows nothing; asked_at is when a paid provider last said so; owed is whether a paid provider owes a
fresh answer; facts are NULL where nothing is known."""

_READ = pa.schema(
    [
        ("kind", pa.string()),
        ("endpoint", pa.string()),
        ("bytes", pa.int64()),
        ("packets", pa.int64()),
    ]
)

BATCH = 10_000
SECONDS_BETWEEN_LOGS = 10
SECONDS_BETWEEN_PROGRESS = 0.5

_SAID_SOMETHING = pa.array([STATES.index(NOT_FOUND), STATES.index(ANSWERED)], pa.int8())

Progress = Callable[[Counts, int], None]


def enrich(
    endpoints: Path | Sequence[Path],
    output: Path,
    *,
    providers: Sequence[Provider] = (),
    store: AnswerStore | None = None,
    progress: Progress | None = None,
    ask: bool = True,
    as_of: datetime | None = None,
) -> Counts:
    """Write what is known of each endpoint, the most useful ones first: those with most bytes, then packets.

    The providers are asked in their order, each about the endpoints of which something is still unknown. Neither an unknown endpoint nor a provider
    that stops makes this fail: the file is complete, with NULLs, and the counts say so. Each answer of a paid provider is in the store before the
    next is asked for, so an interruption loses nothing that was paid.

    Args:
        endpoints: Parquet with columns kind, endpoint, packets, bytes; of several, an endpoint has the bytes and packets of all.
        output: Parquet as SCHEMA says; it appears when it is whole.
        providers: whom to ask, in order; none for nobody.
        store: the answers so far; needed with a paid provider.
        progress: called now and then with the counts so far and the number of all endpoints.
        ask: whether paid providers are asked; if not, their answers in the store count, however old. Free ones look up anyway.
        as_of: take of the answers in the store those that were there at this moment, and ask no paid provider; nothing is owed then.

    Raises:
        StoreError: the store cannot be used.
    """
    table = most_useful_first([endpoints] if isinstance(endpoints, Path) else endpoints)
    chain = Chain(
        [_asking(provider, store, ask=ask, as_of=as_of) for provider in providers],
        table.num_rows,
        progress,
    )
    with whole(output) as beside, pq.ParquetWriter(beside, SCHEMA, compression="zstd") as writer:
        for batch in table.to_batches(max_chunksize=BATCH):
            writer.write_batch(chain.answers(batch))
    return chain.counts()


def most_useful_first(endpoints: Sequence[Path]) -> pa.Table:
    """Read kind and endpoint of the distinct endpoints of some files, in the order in which to ask about them."""
    read = [
        pq.read_table(path, columns=["kind", "endpoint", "bytes", "packets"]).cast(_READ)
        for path in endpoints
    ]
    distinct = (
        pa.concat_tables([_READ.empty_table(), *read])
        .group_by(["kind", "endpoint"])
        .aggregate([("bytes", "sum"), ("packets", "sum")])
    )
    # The endpoint itself last, so that two runs ask in the same order.
    order = pc.sort_indices(
        distinct,
        sort_keys=[
            ("bytes_sum", "descending"),
            ("packets_sum", "descending"),
            ("endpoint", "ascending"),
        ],
    )
    return distinct.select(["kind", "endpoint"]).take(order).combine_chunks()


def _asking(
    provider: Provider, store: AnswerStore | None, *, ask: bool, as_of: datetime | None
) -> Asking:
    if isinstance(provider, FreeProvider):
        return AskingFree(provider)
    if not isinstance(provider, PaidProvider):
        raise TypeError(f"{provider.name!r} can neither look up nor ask")
    if store is None:
        raise ValueError(f"{provider.name!r} needs a store for its answers")
    return AskingPaid(provider, store, ask=ask, as_of=as_of)


class Chain:
    """One walk over the endpoints with all providers: rows out, counts kept."""

    def __init__(self, askings: Sequence[Asking], total: int, progress: Progress | None) -> None:
        self._askings = askings
        self._total = total
        self._progress = progress
        self._n = dict.fromkeys((*STATES, "owed"), 0)
        self._logged = self._shown = time.monotonic()

    def counts(self) -> Counts:
        """Count what became of the endpoints so far."""
        each = {asking.name: asking.counts() for asking in self._askings}
        return Counts(
            endpoints=sum(self._n[state] for state in STATES),
            cached=sum(counts.cached for counts in each.values()),
            asked=sum(counts.asked for counts in each.values()),
            stale=sum(counts.stale for counts in each.values()),
            stopped="; ".join(counts.stopped for counts in each.values() if counts.stopped) or None,
            by_provider=each,
            **self._n,
        )

    def answers(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Put endpoints to the providers, and return the rows that SCHEMA describes."""
        known, state, owed = (
            Known(batch.num_rows),
            np.zeros(batch.num_rows, np.int8),
            np.zeros(batch.num_rows, np.bool_),
        )
        for asking in self._askings:
            of_its_kind = pc.is_in(batch["kind"], pa.array(sorted(asking.kinds), pa.string()))
            rows = np.flatnonzero(
                pc.and_(of_its_kind, known.lacking(batch["kind"])).to_numpy(zero_copy_only=False)
            )
            said = asking.said(batch.take(pa.array(rows)), self._report)
            # Where in what was said each row of the batch is; rows that were not chosen take a NULL.
            places = np.full(batch.num_rows, -1)
            places[rows] = np.arange(len(rows))
            at = pa.array(places, mask=places < 0)
            facts = {name: column.take(at) for name, column in columns_of(said.facts).items()}
            when = (
                None
                if said.when is None
                else pa.array(said.when, pa.timestamp("us", tz="UTC")).take(at)
            )
            known.add(
                asking.name, facts, pc.is_in(pa.array(said.states).take(at), _SAID_SOMETHING), when
            )
            state[rows] = np.maximum(state[rows], said.states)
            if said.owed is not None:
                owed[rows] |= said.owed
        for rank, one in enumerate(STATES):
            self._n[one] += int((state == rank).sum())
        self._n["owed"] += int(owed.sum())
        self._report(0)
        states = pa.array(STATES).take(pa.array(state))
        columns = {
            **known.columns(),
            "state": states,
            "owed": pa.array(owed),
            "kind": batch["kind"],
            "endpoint": batch["endpoint"],
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def _report(self, of_this_batch: int) -> None:
        now = time.monotonic()
        shows = self._progress is not None and now - self._shown >= SECONDS_BETWEEN_PROGRESS
        if not shows and now - self._logged < SECONDS_BETWEEN_LOGS:
            return
        counts = self.counts()
        counts = replace(counts, endpoints=counts.endpoints + of_this_batch)
        if shows and self._progress is not None:
            self._shown = now
            self._progress(counts, self._total)
        if now - self._logged >= SECONDS_BETWEEN_LOGS:
            self._logged = now
            logger.info(
                "%s of %s endpoints: %s from the cache, %s asked, %s failed",
                *(
                    f"{number:,}"
                    for number in (
                        counts.endpoints,
                        self._total,
                        counts.cached,
                        counts.asked,
                        counts.failed,
                    )
                ),
            )
