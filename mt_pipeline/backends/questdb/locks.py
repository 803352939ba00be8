"""Who may move rows about, and who must find them where they are meanwhile: a lock that loads share and `compact.py` takes alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def shared(lock: Path) -> Iterator[None]:
    """Hold the lock beside others who share it.

    Args:
        lock: a file; another one lies beside it.
    """
    with ExitStack() as held:
        with _locked(
            lock.with_suffix(".gate"), fcntl.LOCK_EX
        ):  # who wants it alone keeps the gate, so that one load after the other does not
            held.enter_context(_locked(lock, fcntl.LOCK_SH))
        yield


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock alone: waits for those who share it, and those who come meanwhile wait."""
    with _locked(lock.with_suffix(".gate"), fcntl.LOCK_EX), _locked(lock, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
