"""Where the state of a data folder is in Postgres, how to connect to it, what its errors mean.

What is stored there is known to the rooms that store it. The locks are `advisory.py`.
"""

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa

if TYPE_CHECKING:
    import psycopg

SCHEMA = "mt_pipeline"
"""All tables are in this schema, so that Dagster's tables may be in the same database."""

APPLICATION = "mt_pipeline"
"""What connections are called in Postgres."""

WAIT_SECONDS = 60
"""How long a statement waits for the locks of others."""

made: set[tuple["Postgres", Hashable]] = set()
"""What this process has made or upgraded, or the one that it was forked from: where, and what."""

Execute: TypeAlias = Callable[..., Sequence[tuple[Any, ...]]]
"""Runs a statement with its values, which stand as `?` in it, and returns its rows."""

# Both ends notice within half a minute that the other one is gone: Postgres then frees its locks,
# and a run that lives on learns that it has lost them.
_IDLE, _INTERVAL, _COUNT = 10, 5, 3
_SILENT_SECONDS = _IDLE + _INTERVAL * _COUNT
_CLIENT: dict[str, str | int] = {
    "application_name": APPLICATION,
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": _IDLE,
    "keepalives_interval": _INTERVAL,
    "keepalives_count": _COUNT,
    "tcp_user_timeout": _SILENT_SECONDS * 1000,
}
_SERVER = {
    "lock_timeout": f"{WAIT_SECONDS}s",
    "tcp_keepalives_idle": _IDLE,
    "tcp_keepalives_interval": _INTERVAL,
    "tcp_keepalives_count": _COUNT,
    "tcp_user_timeout": f"{_SILENT_SECONDS}s",
}
_CURES = {
    "28": "correct the user of MT_STATE_URL, or MT_STATE_PASSWORD",
    "42501": "let the user of MT_STATE_URL create schemas and tables in its database",
    "53100": "make room on the disk of Postgres",
    "53300": "raise max_connections of Postgres",
    "55P03": "another process holds it: stop that one, or try again",
}
"""What to do, by SQLSTATE or its class."""


class StateError(Exception):
    """The state in Postgres cannot be used; the message names the database and the cure."""


@dataclass(frozen=True)
class Postgres:
    """A database with the state of one data folder.

    Attributes:
        url: `postgresql://user@host/database`, with options of libpq, without a password.
        password: of the user; None if libpq knows it otherwise, such as from its password file.
    """

    url: str
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return its URL, for people."""
        return urlunsplit(urlsplit(self.url)._replace(query=""))

    @property
    def engine(self) -> sa.Engine:
        """The connections of this process that are kept open: one, and more for more threads."""
        return _engine(self, os.getpid())

    def connect(self, *, autocommit: bool = False) -> "psycopg.Connection":
        """Open a connection.

        Raises:
            psycopg.Error: that is not possible.
        """
        import psycopg  # who has the state in the data folder needs none of it
        from psycopg.conninfo import make_conninfo

        where = make_conninfo(self.url, password=self.password, **self.libpq())
        return psycopg.connect(where, autocommit=autocommit)

    def libpq(self, *, schema: str = SCHEMA) -> dict[str, str | int]:
        """Return what libpq must know besides URL and password, for tables of a schema."""
        options = {"search_path": schema, **_SERVER}
        return {
            **_CLIENT,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        }

    def meaning(self, error: BaseException | None) -> str:
        """Return what an error of Postgres means, and what to do."""
        code = getattr(error, "sqlstate", None) or ""
        text = " ".join(str(error).split())
        if not code and "password" in text:  # libpq has no code for errors of a connection
            code = "28"
        cure = _CURES.get(code) or _CURES.get(code[:2])
        return f"{text}: {cure or 'see that Postgres runs there, or correct MT_STATE_URL'}"


def ensure_schema(db: sa.Connection) -> None:
    """Create the schema if it is missing; a user who may create none can use one that exists."""
    if not sa.inspect(db).has_schema(SCHEMA):
        db.execute(sa.schema.CreateSchema(SCHEMA))


@cache
def _engine(postgres: Postgres, process: int) -> sa.Engine:
    """Return the engine of a process: a child that is forked must not use those of its parent."""
    return sa.create_engine(
        "postgresql+psycopg://",
        creator=postgres.connect,
        pool_size=1,
        max_overflow=-1,
        pool_pre_ping=True,  # else the first statement after a restart of Postgres fails
    )
