"""The stage: a file of endpoints in, a file with what is known of each out, and the counts.

How to ask is not said here (`provider.py`), nor what is kept (`store.py`).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.atomic import whole
from mt_pipeline.enrichment.answers import FACTS, NUMBERS, Answer, Endpoint
from mt_pipeline.enrichment.provider import EndpointFailed, Provider, ProviderStopped
from mt_pipeline.enrichment.store import AnswerStore

logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("endpoint", pa.string()),
        ("state", pa.string()),
        ("provider", pa.string()),
        ("asked_at", pa.timestamp("us", tz="UTC")),
        *((name, pa.float64() if name in NUMBERS else pa.string()) for name in FACTS),
    ]
)
"""Columns of the file of answers, a row per endpoint: state is answered, not_found, failed or not_asked; facts are NULL where nothing is known."""

BATCH = 10_000
FAILURES_IN_A_ROW = 10
"""So many endpoints without an answer, one after the other, are the server's fault: asking on would only cost hours."""
SECONDS_BETWEEN_LOGS = 10
SECONDS_BETWEEN_PROGRESS = 0.5


@dataclass(frozen=True)
class Counts:
    """What became of the endpoints: endpoints = answered + not_found + failed + not_asked.

    Attributes:
        endpoints: rows.
        cached: answers that were there already.
        asked: endpoints that the provider was asked about now, the one at which it stopped included.
        answered: endpoints that the provider knows.
        not_found: endpoints that the provider does not know.
        failed: endpoints without an answer this time.
        not_asked: endpoints that nobody was asked about, for lack of a provider or because it stopped.
        stopped: why the provider stopped, if it did.
    """

    endpoints: int = 0
    cached: int = 0
    asked: int = 0
    answered: int = 0
    not_found: int = 0
    failed: int = 0
    not_asked: int = 0
    stopped: str | None = None


def enrich(
    endpoints: Path,
    output: Path,
    *,
    provider: Provider | None,
    store: AnswerStore | None,
    progress: Callable[[Counts, int], None] | None = None,
) -> Counts:
    """Write what is known of each endpoint, the most useful ones first: those with most bytes, then packets.

    Neither an unknown endpoint nor a provider that stops makes this fail: the file is complete, with NULLs, and the counts say so. Each answer is
    in the store before the next is asked for, so an interruption loses nothing that was paid.

    Args:
        endpoints: Parquet with columns kind, endpoint, packets, bytes.
        output: Parquet as SCHEMA says; it appears when it is whole.
        provider: whom to ask; None for nobody.
        store: the answers so far; needed with a provider.
        progress: called now and then with the counts so far and the number of all endpoints.

    Raises:
        StoreError: the store cannot be used.
    """
    table = _most_useful_first(endpoints)
    asking = None if provider is None or store is None else _Asking(provider, store, table.num_rows, progress)
    if provider is not None and store is None:
        raise ValueError("a provider needs a store for its answers")
    with whole(output) as beside, pq.ParquetWriter(beside, SCHEMA, compression="zstd") as writer:
        for batch in table.to_batches(max_chunksize=BATCH):
            writer.write_batch(_not_asked(batch) if asking is None else asking.answers(batch))
    return Counts(endpoints=table.num_rows, not_asked=table.num_rows) if asking is None else asking.counts()


def _most_useful_first(endpoints: Path) -> pa.Table:
    table = pq.read_table(endpoints, columns=["kind", "endpoint", "bytes", "packets"])
    # The endpoint itself last, so that two runs ask in the same order.
    order = pc.sort_indices(table, sort_keys=[("bytes", "descending"), ("packets", "descending"), ("endpoint", "ascending")])
    return table.select(["kind", "endpoint"]).take(order).cast(pa.schema([SCHEMA.field("kind"), SCHEMA.field("endpoint")]))


def _not_asked(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = batch.num_rows
    nulls = [pa.nulls(rows, field.type) for field in list(SCHEMA)[3:]]
    return pa.RecordBatch.from_arrays([batch["kind"], batch["endpoint"], pa.repeat("not_asked", rows).cast(pa.string()), *nulls], schema=SCHEMA)


class _Asking:
    """One walk over the endpoints with a provider: rows out, counts kept."""

    def __init__(self, provider: Provider, store: AnswerStore, total: int, progress: Callable[[Counts, int], None] | None) -> None:
        self._provider = provider
        self._store = store
        self._total = total
        self._progress = progress
        self._n = dict.fromkeys(("cached", "asked", "answered", "not_found", "failed", "not_asked"), 0)
        self._stopped: str | None = None
        self._failures_in_a_row = 0
        self._logged = self._shown = time.monotonic()

    def counts(self) -> Counts:
        done = sum(self._n[state] for state in ("answered", "not_found", "failed", "not_asked"))
        return Counts(endpoints=done, stopped=self._stopped, **self._n)

    def answers(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
        for kind, value in zip(batch["kind"].to_pylist(), batch["endpoint"].to_pylist(), strict=True):
            state, answer = self._one(Endpoint(kind, value))
            self._n[state] += 1
            columns["kind"].append(kind)
            columns["endpoint"].append(value)
            columns["state"].append(state)
            columns["provider"].append(answer and answer.provider)
            columns["asked_at"].append(answer and answer.asked_at)
            for fact in FACTS:
                columns[fact].append(answer and getattr(answer.facts, fact))
            self._report()
        return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)

    def _one(self, endpoint: Endpoint) -> tuple[str, Answer | None]:
        """Return the state of an endpoint and its answer, if there is one."""
        try:
            answer, asked = self._store.answer(endpoint, self._provider) if self._stopped is None else self._kept(endpoint)
        except EndpointFailed as error:
            self._n["asked"] += 1
            self._failures_in_a_row += 1
            logger.warning("%s", error)
            if self._failures_in_a_row == FAILURES_IN_A_ROW:
                self._stop(f"{FAILURES_IN_A_ROW} endpoints in a row got no answer, so the rest is left for the next run; the last: {error}")
            return "failed", None
        except ProviderStopped as error:
            self._n["asked"] += 1
            self._stop(str(error))
            return "not_asked", None
        if answer is None:
            return "not_asked", None
        if asked:
            self._failures_in_a_row = 0
        self._n["asked" if asked else "cached"] += 1
        return ("answered" if answer.found else "not_found"), answer

    def _kept(self, endpoint: Endpoint) -> tuple[Answer | None, bool]:
        return self._store.get(self._provider.name, endpoint), False

    def _stop(self, reason: str) -> None:
        self._stopped = reason
        logger.error("%s stopped: %s", self._provider.name, reason)

    def _report(self) -> None:
        now = time.monotonic()
        if self._progress is not None and now - self._shown >= SECONDS_BETWEEN_PROGRESS:
            self._shown = now
            self._progress(self.counts(), self._total)
        if now - self._logged >= SECONDS_BETWEEN_LOGS:
            self._logged = now
            counts = self.counts()
            logger.info(
                "%s of %s endpoints: %s from the cache, %s asked, %s failed",
                *(f"{number:,}" for number in (counts.endpoints, self._total, counts.cached, counts.asked, counts.failed)),
            )
