"""Captures that are still written: when they are read before they settle, and a stable copy.

Of an object of a store there is a copy, too: programs read files.

Each reading starts from the beginning, because tshark must know a stream from its start. The next
one waits until the file is a tenth larger, so all readings together cost about ten times the last.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mt_pipeline.captures.identity import Capture, capture_at, open_capture

_COPY = ".follow-"
_BLOCK_BYTES = 1 << 20
_GROWTH = 10


def is_due(size: int, taken: int) -> bool:
    """Return whether a growing capture has grown enough to be read again.

    Args:
        size: its bytes now.
        taken: its bytes when it was read last; 0 if it was not.
    """
    return size > taken + taken // _GROWTH


def is_growing(capture: Capture, *, settle: float) -> bool:
    """Return whether it may still be written: it changed within the last two settle times."""
    return time.time() - capture.mtime_ns / 1e9 < 2 * settle


@contextmanager
def snapshot(capture: Capture, folder: Path) -> Iterator[Capture]:
    """Copy the present content of a growing capture, or an object; delete the copy afterwards.

    Args:
        capture: the file; the caller has its lock.
        folder: on a disk with room. Copies of this capture that killed runs left are deleted.

    Raises:
        CaptureGoneError: it was deleted.
        CaptureError: it is an object that has changed, or may not be read.
        InboxError: the store cannot be asked.
        OSError: it cannot be read, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{_COPY}{hashlib.sha256(capture.key.encode()).hexdigest()[:16]}-"
    for abandoned in folder.glob(f"{prefix}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with TemporaryDirectory(dir=folder, prefix=prefix, ignore_cleanup_errors=True) as own:
        copy = replace(capture, inbox=Path(own))
        copy.path.parent.mkdir(parents=True)
        try:
            _copy(capture, copy.path)
        except FileNotFoundError:
            capture_at(capture.inbox, capture.key)  # raises CaptureGoneError if it was deleted
            raise
        yield replace(copy, mtime_ns=copy.path.stat().st_mtime_ns)


def _copy(capture: Capture, path: Path) -> None:
    left = capture.size
    with open_capture(capture) as source, path.open("wb") as target:
        while block := source.read(min(_BLOCK_BYTES, left)):
            target.write(block)
            left -= len(block)
