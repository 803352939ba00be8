"""Where a QuestDB is, and how to connect to it. What is in it is not known here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from mt_pipeline.backends.loads import Refused, Unreachable
from mt_pipeline.backends.questdb.locks import ViewsLock
from mt_pipeline.backends.questdb.views import MAX_VIEWS


@dataclass(frozen=True)
class Database:
    """Where a QuestDB listens, and who we are there.

    Attributes:
        host: a name or an address.
        http_port: for ILP.
        pg_port: for SQL.
        user: for both.
        password: of that user.
        import_folder: the folder that the server imports from, if we can write there.
        folder: of its data, if it is the embedded one.
        lock: those who hold it create tables and views one after the other.
        max_views: how many views of experiments it can bear.
        retry_seconds: how long rows are sent again if it goes away.
    """

    host: str
    http_port: int
    pg_port: int
    user: str
    password: str = field(repr=False)
    import_folder: Path | None = None
    folder: Path | None = None
    lock: ViewsLock | None = field(default=None, compare=False)
    max_views: int = MAX_VIEWS
    retry_seconds: float = 30

    @property
    def console(self) -> str:
        """Return the address of its web console, as this machine reaches it."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def _cure(self) -> str:
        if self.folder is None:
            return "correct MT_QUESTDB_USER or MT_QUESTDB_PASSWORD, or the two of MT_QUESTDB_READER"
        return (
            "it was started with another password, as by an earlier release: stop the service, "
            "and commands that use it, then start again"
        )

    @contextmanager
    def connect(self, *, statement_seconds: int = 0) -> Iterator[psycopg.Connection]:
        """Open a connection for SQL.

        Args:
            statement_seconds: how long a statement may take; 0 for the server's own limit, which
                is a minute by default.

        Raises:
            Unreachable: QuestDB does not answer, or the connection broke inside the block.
            Refused: QuestDB does not let us in.
            OSError: this process has too many files open.
        """
        timeout = f"-c statement_timeout={1000 * statement_seconds}" if statement_seconds else ""
        try:
            # A prepared statement breaks for good when a view changes its columns. A binary cursor
            # cannot read IPV4.
            with psycopg.connect(
                host=self.host,
                port=self.pg_port,
                user=self.user,
                password=self.password,
                dbname="qdb",
                autocommit=True,
                prepare_threshold=None,
                # The embedded one is never away while it runs; on a busy machine it is slow.
                connect_timeout=60 if self.folder else 5,
                options=timeout,
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            reason = str(error).partition("\n")[0]
            # libpq does not tell if this process has too many open files. This raises OSError then.
            os.close(os.open(os.devnull, os.O_RDONLY))
            address = f"{self.host}:{self.pg_port}"
            if "password" in reason:
                raise Refused(
                    f"QuestDB at {address} refuses the user {self.user}: {self._cure}"
                ) from None
            raise Unreachable(
                f"QuestDB does not answer at {address} ({reason}): start it with `make run`, "
                "or correct MT_QUESTDB_HOST or _PG_PORT"
            ) from None
