"""A lock that loads share, and that `compact.py` takes alone, because it moves rows."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def shared(lock: Path) -> Iterator[None]:
    """Share the lock with others.

    Args:
        lock: a file. Its gate is a second file in the same folder.
    """
    with ExitStack() as stack:
        # Who wants the lock alone keeps the gate, so that new loads cannot overtake it for ever.
        with _locked(lock.with_suffix(".gate"), fcntl.LOCK_EX):
            stack.enter_context(_locked(lock, fcntl.LOCK_SH))
        yield


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Take the lock alone: wait for those who share it, and make newcomers wait."""
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
