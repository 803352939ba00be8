"""Locks of those who change tables. Loads share one, which `compact.py` takes alone."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from mt_pipeline.state.postgres import Postgres

ViewsLock: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes the lock of those who create tables and views, who do so one after the other."""


class LoadingLock(Protocol):
    """A lock that is shared, or held alone. Whoever waits for it alone makes newcomers wait."""

    def shared(self) -> AbstractContextManager[None]:
        """Share the lock with others."""

    def alone(self) -> AbstractContextManager[None]:
        """Take the lock alone: wait for those who share it, and make newcomers wait."""


@dataclass(frozen=True)
class FileLoadingLock:
    """The lock as a file.

    Attributes:
        path: the file. Its gate is a second file in the same folder.
    """

    path: Path

    @contextmanager
    def shared(self) -> Iterator[None]:
        """See `LoadingLock.shared`."""
        with ExitStack() as stack:
            # Who wants the lock alone keeps the gate, so that new loads cannot overtake it for
            # ever.
            with _locked(self.gate, fcntl.LOCK_EX):
                stack.enter_context(_locked(self.path, fcntl.LOCK_SH))
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `LoadingLock.alone`."""
        with _locked(self.gate, fcntl.LOCK_EX), _locked(self.path, fcntl.LOCK_EX):
            yield

    @property
    def gate(self) -> Path:
        """The file of those who come."""
        return self.path.with_suffix(".gate")


@dataclass(frozen=True)
class PostgresLoadingLock:
    """The lock in Postgres, for loads of several machines.

    Its errors are those of the state: `StateError`, also at the end if the lock was lost meanwhile.

    Attributes:
        postgres: which one.
    """

    postgres: Postgres

    @contextmanager
    def shared(self) -> Iterator[None]:
        """See `LoadingLock.shared`."""
        from mt_pipeline.state.advisory import Locks

        locks = Locks(self.postgres, "loading")
        with ExitStack() as stack:
            with locks.alone("gate"):
                hold = stack.enter_context(locks.shared("rows"))
            yield
            hold.check()  # else rows may have been moved while they were sent

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See `LoadingLock.alone`."""
        from mt_pipeline.state.advisory import Locks

        locks = Locks(self.postgres, "loading")
        with locks.alone("gate"), locks.alone("rows") as hold:
            yield
            hold.check()


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
