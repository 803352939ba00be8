"""One lock per capture key: who works on it. Files in a folder beside the ledger."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mt_pipeline.captures.identity import CaptureError
from mt_pipeline.captures.records import LedgerError


class CaptureBusyError(CaptureError):
    """Someone else holds the lock of the capture."""


@contextmanager
def held(folder: Path, key: str, *, timeout: float) -> Iterator[None]:
    """Hold the lock of a capture: one holder among all processes and threads, and the kernel frees it if that one dies.

    Args:
        folder: of the locks; made if it is missing.
        key: capture key.
        timeout: seconds to wait; 0 asks whether anyone works on it, -1 waits as long as it takes.

    Raises:
        CaptureBusyError: someone else held it all that time.
        LedgerError: the lock cannot be made.
    """
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.lock"
    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(path, thread_local=False).acquire(timeout=timeout)
    except Timeout:
        raise CaptureBusyError(
            f"{key} is being worked on by another run: wait for it, or stop it."
        ) from None
    except OSError as error:
        raise LedgerError(
            f"The lock {path} cannot be made: {error.strerror or error}; make room on its disk, or make its folder writable for this user."
        ) from error
    with lock:
        try:
            yield
        finally:
            # Only the holder removes it, and whoever opened it meanwhile sees that it is gone and starts anew (filelock checks the
            # number of links): else there would be a file for every capture that ever was.
            path.unlink(missing_ok=True)
