"""One lock per capture key, in a folder next to the ledger: whoever works on a capture has it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.records import LedgerError


class CaptureBusyError(CaptureError):
    """Another run has the lock of the capture."""


@contextmanager
def lock(folder: Path, key: str, *, timeout: float) -> Iterator[None]:
    """Lock a capture against all other processes and threads; the kernel frees it at a crash.

    Args:
        folder: of the locks; created if it is missing.
        key: capture key.
        timeout: seconds to wait; 0 does not wait, -1 waits as long as it takes.

    Raises:
        CaptureBusyError: another run had it all that time.
        LedgerError: the lock cannot be created.
    """
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.lock"
    try:
        folder.mkdir(exist_ok=True)
        acquired = FileLock(path, thread_local=False).acquire(timeout=timeout)
    except Timeout:
        raise CaptureBusyError(
            f"{key} is being worked on by another run: wait for it, or stop it."
        ) from None
    except OSError as error:
        raise LedgerError(
            f"The lock {path} cannot be made: {error.strerror or error}; "
            "make room on its disk, or make its folder writable for this user."
        ) from error
    with acquired:
        try:
            yield
        finally:
            # Only its owner removes the file. Whoever opened it meanwhile notices that by its
            # number of links and starts anew (filelock checks it). Otherwise every capture that
            # ever was would leave a file.
            path.unlink(missing_ok=True)
