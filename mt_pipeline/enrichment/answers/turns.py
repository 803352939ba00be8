"""Turns to ask a provider: one request in flight over all processes, and each process gets a turn.

They are polled. With a single lock, a process that releases it and wants it again at once would
nearly always win. With two, it finds `next` taken by a process that waited.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from filelock import FileLock
from filelock import Timeout as LockTimeout

from mt_pipeline.enrichment.provider import ProviderStopped
from mt_pipeline.state.postgres import Postgres, StateError

LONGEST_TURN = 1800
"""Seconds to wait for a turn. A turn is one request with its retries, minutes at most: a process
that keeps it longer hangs."""

_HANGS = f"another run has been asking for {LONGEST_TURN // 60} minutes; end it and run again"


class Turns(Protocol):
    """The turns of all processes that share a store."""

    def taken(self) -> AbstractContextManager[None]:
        """Take a turn; wait for those of others.

        Raises:
            ProviderStopped: another process hangs in its turn.
        """


@dataclass(frozen=True)
class FileTurns:
    """Turns by locks on files.

    Attributes:
        folder: of the files.
    """

    folder: Path

    @cached_property
    def _locks(self) -> tuple[FileLock, FileLock]:
        turn, following = (
            FileLock(self.folder / f"{name}.lock", timeout=LONGEST_TURN, poll_interval=0.01)
            for name in ("turn", "next")
        )
        return turn, following

    @contextmanager
    def taken(self) -> Iterator[None]:
        """See `Turns.taken`."""
        turn, following = self._locks
        try:
            with following:
                turn.acquire()
        except LockTimeout as error:
            raise ProviderStopped(f"{error.lock_file}: {_HANGS}") from None
        try:
            yield
        finally:
            turn.release()


@dataclass(frozen=True)
class PostgresTurns:
    """Turns by locks in Postgres.

    Attributes:
        postgres: which one.
    """

    postgres: Postgres

    @contextmanager
    def taken(self) -> Iterator[None]:
        """See `Turns.taken`."""
        from mt_pipeline.state.advisory import BusyError, Locks

        locks = Locks(self.postgres, "answers")
        with ExitStack() as stack:
            try:
                with locks.alone("next", timeout=LONGEST_TURN):
                    stack.enter_context(locks.alone("turn", timeout=LONGEST_TURN))
            except BusyError:
                raise ProviderStopped(f"{self.postgres}: {_HANGS}") from None
            except StateError as error:
                raise ProviderStopped(f"{error}, so nobody is asked; run again then") from None
            yield
