"""One lock per capture key: whoever works on a capture has it. Here they are files.

They lie in a folder next to the ledger. Those in Postgres are `postgres_locks.py`.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from filelock import FileLock, Timeout

from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.records import LedgerError


class CaptureBusyError(CaptureError):
    """Another run has the lock of the capture."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is being worked on by another run: wait for it, or stop it.")


class CaptureLostError(CaptureError):
    """Whoever worked on the capture has lost its lock, or another run has claimed it since."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"{key}: {reason}. This run leaves the capture as it is, to the one that works on it "
            "now or takes it up again."
        )


class Held(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Look whether it is still held.

        Raises:
            CaptureLostError: it is not.
        """


class Locks(Protocol):
    """The locks of captures, runs and terminals, by name."""

    def lock(self, name: str, *, timeout: float) -> AbstractContextManager[Held]:
        """Lock against all other processes and threads; a process that dies frees its locks.

        Args:
            name: a capture key, or the name of a run or terminal.
            timeout: seconds to wait; 0 does not wait, -1 waits as long as it takes.

        Raises:
            CaptureBusyError: another one had it all that time.
            LedgerError: the lock cannot be made.
        """


@dataclass(frozen=True)
class FileLocks:
    """Locks that are files; the kernel frees those of a process that dies.

    Attributes:
        folder: of the files; created if it is missing.
    """

    folder: Path

    @classmethod
    def beside(cls, ledger: Path) -> Self:
        """Return the locks of the captures of a ledger."""
        return cls(ledger.with_suffix(".locks"))

    @contextmanager
    def lock(self, name: str, *, timeout: float) -> Iterator[Held]:
        """See `Locks.lock`."""
        path = self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.lock"
        try:
            self.folder.mkdir(exist_ok=True)
            acquired = FileLock(path, thread_local=False).acquire(timeout=timeout)
        except Timeout:
            raise CaptureBusyError(name) from None
        except OSError as error:
            raise LedgerError(
                f"The lock {path} cannot be made: {error.strerror or error}; "
                "make room on its disk, or make its folder writable for this user."
            ) from error
        with acquired:
            held = _HeldFile(name, path, _number(path))
            try:
                yield held
            finally:
                # Only its owner removes the file. Whoever opened it meanwhile notices that by its
                # number of links and starts anew (filelock checks it). Otherwise every capture
                # that ever was would leave a file.
                if _number(path) == held.number:
                    path.unlink(missing_ok=True)

    def is_any_held(self) -> bool:
        """Return whether anybody works on any capture."""
        return any(map(_is_locked, self.folder.glob("*.lock")))


@dataclass(frozen=True)
class _HeldFile:
    name: str
    path: Path
    number: int | None

    def check(self) -> None:
        if _number(self.path) != self.number:
            raise CaptureLostError(self.name, f"its lock {self.path} was removed")


def _is_locked(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _number(path: Path) -> int | None:
    """Return the number of a file, by which it differs from a later one of its name."""
    try:
        return path.stat().st_ino
    except OSError:
        return None
