"""Sends rows by two senders at once. The senders are in `ilp.py` and `parquet_import.py`."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import pyarrow as pa

from mt_pipeline.backends.loads import Part
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ilp import IlpSender
from mt_pipeline.backends.questdb.parquet_import import ParquetSender, own_folder
from mt_pipeline.rows.packets import BATCH, joined
from mt_pipeline.schema.tables import Table

_SENDERS = 2


def open_sender(database: Database, table: Table, stack: ExitStack) -> IlpSender | ParquetSender:
    """Open a sender of rows of a table, which the stack closes."""
    if database.import_folder is None:
        return stack.enter_context(IlpSender(database, table))
    return ParquetSender(database, table, stack.enter_context(own_folder(database.import_folder)))


class Senders:
    """Two senders: while the server works on a batch of one, the other encodes the next."""

    def __init__(self, database: Database, table: Table) -> None:
        self._idle = SimpleQueue[IlpSender | ParquetSender]()
        self._open = ExitStack()
        for _ in range(_SENDERS):
            self._idle.put(open_sender(database, table, self._open))
        self._workers = self._open.enter_context(ThreadPoolExecutor(_SENDERS))
        self._under_way = deque[Future[None]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            while self._under_way and error is None:
                self._under_way.popleft().result()

    def send(self, batch: pa.RecordBatch, load: int) -> None:
        """Send rows as soon as a sender is idle; raise its errors in this call or a later one."""
        if len(self._under_way) == _SENDERS:
            self._under_way.popleft().result()
        if batch.num_rows:
            self._under_way.append(self._workers.submit(self._send, batch, load))

    def _send(self, batch: pa.RecordBatch, load: int) -> None:
        sender = self._idle.get()
        try:
            sender.send(batch, load)
        finally:
            self._idle.put(sender)


def merged_batches(parts: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all captures. Small captures share a batch.

    QuestDB compiles the INSERT of each batch anew, so many small batches are expensive.
    """
    pending: list[pa.RecordBatch] = []
    for part in parts:
        for batch in part.storable():
            if pending and sum(each.num_rows for each in (*pending, batch)) > BATCH:
                yield joined(pending)
                pending.clear()
            pending.append(batch)
            if len(parts) == 1:  # no other capture can share the batch
                yield joined(pending)
                pending.clear()
    if pending:
        yield joined(pending)
