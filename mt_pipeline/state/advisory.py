"""Locks in Postgres, for processes of several machines. Postgres frees them when a process dies.

They are advisory locks of sessions. A process has one connection for all its locks. If it is lost,
so are they: the process may live on, and others may have them by then. So a holder calls `check`
before it does what only a holder may do.
"""

import atexit
import hashlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import psycopg
import sqlalchemy as sa

from mt_pipeline.state.postgres import APPLICATION, Postgres, StateError

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
"""A wait is polled: a statement that waits would keep other threads from the connection."""


class BusyError(Exception):
    """Another holder had the lock all the time that the caller was ready to wait."""


class LostError(StateError):
    """The connection that held a lock is gone, and so is the lock."""


@dataclass(frozen=True, eq=False)
class Hold:
    """That a thread of this process has a lock, alone or with others."""

    number: int
    is_shared: bool
    connection: psycopg.Connection
    _session: "_Session"

    def check(self) -> None:
        """Ask Postgres whether the session of the lock still lives.

        Raises:
            LostError: it does not.
        """
        self._session.check(self)


class Locks:
    """Locks of one kind, by name.

    Args:
        postgres: whose state they protect.
        kind: keeps names of different kinds apart.
    """

    def __init__(self, postgres: Postgres, kind: str) -> None:
        self._postgres, self._kind = postgres, kind

    @contextmanager
    def alone(self, name: str = "", *, timeout: float = -1) -> Iterator[Hold]:
        """Take a lock against all others.

        Args:
            name: of the lock.
            timeout: seconds to wait; 0 does not wait, -1 waits as long as it takes.

        Raises:
            BusyError: another one had it all that time.
            StateError: Postgres does not answer.
        """
        with self._taken(name, timeout, is_shared=False) as hold:
            yield hold

    @contextmanager
    def shared(self, name: str = "") -> Iterator[Hold]:
        """Take a lock that others may share, but nobody may have alone; wait as long as it takes.

        Raises:
            StateError: Postgres does not answer.
        """
        with self._taken(name, -1, is_shared=True) as hold:
            yield hold

    @contextmanager
    def _taken(self, name: str, timeout: float, *, is_shared: bool) -> Iterator[Hold]:
        session = _session(self._postgres, os.getpid())
        number = number_of(f"{self._kind} {name}")
        deadline = time.monotonic() + timeout
        while (hold := session.take(number, is_shared=is_shared)) is None:
            if timeout >= 0 and time.monotonic() >= deadline:
                raise BusyError(name)
            time.sleep(_POLL_SECONDS)
        try:
            yield hold
        finally:
            session.free(hold)


class _Session:
    """The connection of a process, and what it holds.

    To Postgres, whoever has a lock may take it again. So this keeps threads apart, too.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._mutex = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._holds = defaultdict[int, list[Hold]](list)

    def take(self, number: int, *, is_shared: bool) -> Hold | None:
        """Take a lock if nobody is in the way."""
        with self._mutex:
            others = self._holds.get(number, ())
            if others and not (is_shared and all(other.is_shared for other in others)):
                if self._is_open():
                    return None
                self._forget()
            connection = self._try(number, is_shared=is_shared)
            if connection is None:
                return None
            hold = Hold(number, is_shared, connection, self)
            self._holds[number].append(hold)
            return hold

    def free(self, hold: Hold) -> None:
        """Free a lock, unless the connection is gone and has freed it."""
        with self._mutex:
            left = [other for other in self._holds.pop(hold.number, ()) if other is not hold]
            if left:
                self._holds[hold.number] = left
            with suppress(psycopg.OperationalError):
                _call(hold.connection, "pg_advisory_unlock", hold.number, is_shared=hold.is_shared)

    def check(self, hold: Hold) -> None:
        """See `Hold.check`."""
        with self._mutex:
            try:
                hold.connection.execute("SELECT")
            except psycopg.OperationalError as error:
                reason = " ".join(str(error).split())
                raise LostError(f"the connection to {self._postgres} was lost ({reason})") from None

    def close(self, process: int) -> None:
        """Close the connection of a process that ends."""
        if self._connection is not None and process == os.getpid():
            self._connection.close()

    def _try(self, number: int, *, is_shared: bool) -> psycopg.Connection | None:
        """Try to take a lock; return the connection that has it."""
        try:
            if self._connection is not None:
                with suppress(psycopg.OperationalError):
                    return self._ask(self._connection, number, is_shared=is_shared)
                self._forget()
            self._connection = self._postgres.connect(autocommit=True)
            return self._ask(self._connection, number, is_shared=is_shared)
        except psycopg.Error as error:
            raise StateError(
                f"no lock can be taken in {self._postgres} ({self._postgres.meaning(error)})"
            ) from None

    def _is_open(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.execute("SELECT")
        except psycopg.OperationalError:
            return False
        return self._connection is not None

    def _forget(self) -> None:
        """Forget the connection that was lost, and what it held: others may have that by now."""
        log.warning("the connection for locks in %s was lost", self._postgres)
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._holds.clear()

    @staticmethod
    def _ask(
        connection: psycopg.Connection, number: int, *, is_shared: bool
    ) -> psycopg.Connection | None:
        is_mine = _call(connection, "pg_try_advisory_lock", number, is_shared=is_shared)
        return connection if is_mine else None


@cache
def _session(postgres: Postgres, process: int) -> _Session:
    """Return the session of a process: a child that is forked must not use that of its parent."""
    session = _Session(postgres)
    atexit.register(session.close, process)
    return session


def take_turn(db: sa.Connection, name: str) -> None:
    """Keep others who take this turn waiting until the transaction ends.

    Args:
        db: the transaction.
        name: of the turn.
    """
    db.execute(sa.select(sa.func.pg_advisory_xact_lock(number_of(name))))


def are_held_by_others(db: sa.Connection) -> bool:
    """Return whether sessions of other processes hold any lock."""
    held = db.exec_driver_sql(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid() "
        "AND application_name = %s AND datname = current_database()",
        (APPLICATION,),
    )
    return bool(held.scalar_one())


def _call(connection: psycopg.Connection, function: str, number: int, *, is_shared: bool) -> bool:
    name = f"{function}_shared" if is_shared else function
    row = connection.execute(f"SELECT {name}(%s)".encode(), [number]).fetchone()
    return bool(row and row[0])


def number_of(name: str) -> int:
    """Return the 64 bits by which Postgres knows a lock."""
    digest = hashlib.sha256(f"mt_pipeline {name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], signed=True)
