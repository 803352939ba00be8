"""The line on which frames go to QuestDB: ILP over HTTP, with patience for a server that goes away. What is sent is `loader.py`'s business."""

import logging
import time
from types import TracebackType
from typing import Self

import pandas as pd
import questdb
from questdb import Protocol, QuestDBError, QuestDBErrorCode, Sender

from mt_pipeline.questdb.database import Database, LoadFailed, Unreachable
from mt_pipeline.questdb.tables import PACKETS, Table

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30
"""How long a QuestDB that refuses or went away is asked again."""

_WENT_AWAY = (
    QuestDBErrorCode.SocketError,
    QuestDBErrorCode.ProtocolVersionError,
    QuestDBErrorCode.CouldNotResolveAddr,
    QuestDBErrorCode.ConnectTimeout,
)
questdb.WARN_HIGH_RECONNECTS = False  # type: ignore[attr-defined]  # a line per capture is no fault


class Line:
    """One line to a table, opened anew when it breaks.

    Every frame is one atomic request; as the table knows its keys, repeating one is harmless.
    """

    def __init__(self, database: Database, table: Table = PACKETS) -> None:
        self._database = database
        self._table = table
        self._sender: Sender | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def send(self, frame: pd.DataFrame) -> None:
        """Send a frame, with patience for a server that went away.

        Raises:
            Unreachable: it does not come back.
            LoadFailed: it refuses the rows.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._sender = self._sender or self._open()
                self._sender.dataframe(frame, table_name=self._table.name, symbols=self._table.symbols, at=self._table.keys[0])
                self._sender.flush()
            except QuestDBError as error:
                self._close()
                if error.code not in _WENT_AWAY:
                    raise LoadFailed(f"QuestDB refuses rows: {error}; is its disk full? Its log says more") from None
                if time.monotonic() > deadline:
                    raise Unreachable(
                        f"QuestDB at {self._database.host}:{self._database.http_port} went away: {error}; start it, then launch the capture again"
                    ) from None
                log.warning("QuestDB at %s:%s: %s; asking again", self._database.host, self._database.http_port, error)
                time.sleep(1)
            else:
                return

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
