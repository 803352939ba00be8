"""Sends rows to any QuestDB, by ILP over HTTP. `parquet_import.py` is faster, but shares a disk."""

from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import questdb
from questdb import Protocol, QuestDBError, QuestDBErrorCode, Sender

from mt_pipeline.backends.loads import LoadFailed
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.retry import WentAway, retry_until_back
from mt_pipeline.schema.tables import Table

if TYPE_CHECKING:
    import pandas as pd

_REQUEST = 20_000  # rows: some 20 MB
_WENT_AWAY = (
    QuestDBErrorCode.SocketError,
    QuestDBErrorCode.ProtocolVersionError,
    QuestDBErrorCode.CouldNotResolveAddr,
    QuestDBErrorCode.ConnectTimeout,
)
questdb.WARN_HIGH_RECONNECTS = False  # type: ignore[attr-defined]  # one per capture is no fault


class IlpSender:
    """A connection that reopens when it breaks; every 20,000 rows are one atomic request."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table
        self._sender: Sender | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def send(self, batch: pa.RecordBatch, load: int) -> None:
        """Send rows of a load.

        Raises:
            Unreachable: QuestDB went away, and is not back in time.
            LoadFailed: QuestDB refuses the rows.
        """
        for start in range(0, batch.num_rows, _REQUEST):
            send = partial(
                self._send, _frame(batch.slice(start, _REQUEST)).assign(load=load, gone=False)
            )
            retry_until_back(
                f"{self._database.host}:{self._database.http_port}",
                send,
                seconds=self._database.retry_seconds,
            )

    def _send(self, frame: "pd.DataFrame") -> None:
        try:
            self._sender = self._sender or self._open()
            self._sender.dataframe(
                frame,
                table_name=self._table.name,
                symbols=self._table.symbols,
                at=self._table.keys[0],
            )
            self._sender.flush()
        except QuestDBError as error:
            self._close()
            if error.code in _WENT_AWAY:
                raise WentAway(str(error)) from None
            raise LoadFailed(
                f"QuestDB refuses rows: {error}; is its disk full? Its log says more"
            ) from None

    def _open(self) -> Sender:
        sender = Sender(
            Protocol.Http,
            self._database.host,
            self._database.http_port,
            username=self._database.user,
            password=self._database.password,
            auto_flush=False,
            max_buf_size=1_000_000_000,
            request_timeout=60_000,
            request_min_throughput=5_000_000,
        )
        sender.establish()  # type: ignore[no-untyped-call]
        return sender

    def _close(self) -> None:
        if self._sender:
            self._sender.close(flush=False)
            self._sender = None


def _frame(batch: pa.RecordBatch) -> "pd.DataFrame":
    """Build the frame that the client takes: nullable integers, and text without float NaN."""
    texts = [field.name for field in batch.schema if pa.types.is_dictionary(field.type)]
    fields = [
        field.with_type(pa.string()) if field.name in texts else field for field in batch.schema
    ]
    import pandas as pd  # takes 0.2 s, and only a QuestDB on another disk needs it

    nullable = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = batch.cast(pa.schema(fields)).to_pandas(types_mapper=nullable.get)
    return frame.astype(dict.fromkeys(texts, "str"))
