"""Captures that are still written: when one is taken before it is quiet, and a copy of it that grows no more.

Each take reads from the beginning, as tshark must know a stream from its start; so the next one waits until there is a tenth more to read, and
the cost of all takes stays about ten times that of the last.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mt_pipeline.captures.identity import Capture, capture_at, open_capture

_COPY = ".follow-"
_PIECE = 1 << 20
_GROWTH = 10


def is_due(size: int, taken: int) -> bool:
    """Say whether a growing capture is worth another take.

    Args:
        size: bytes that it has now.
        taken: bytes that it had at the last take; 0 if there was none.
    """
    return size > taken + taken // _GROWTH


def is_growing(capture: Capture, *, settle: float) -> bool:
    """Say whether it may be written just now: its last change is not older than two settle times."""
    return time.time() - capture.mtime_ns / 1e9 < 2 * settle


@contextmanager
def still(capture: Capture, folder: Path) -> Iterator[Capture]:
    """Copy what a growing capture has now; the copy is gone afterwards.

    Args:
        capture: the file, as it was when we looked; the caller holds its lock.
        folder: of this capture alone, where there is room; what a run that was killed left there is deleted.

    Raises:
        CaptureGoneError: it was deleted.
        OSError: it cannot be read, or there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob(f"{_COPY}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with TemporaryDirectory(dir=folder, prefix=_COPY, ignore_cleanup_errors=True) as own:
        copy = replace(capture, inbox=Path(own))
        copy.path.parent.mkdir(parents=True)
        try:
            opened = open_capture(capture)
        except FileNotFoundError:
            capture_at(capture.inbox, capture.key)  # says so if it is gone
            raise
        left = capture.size
        with opened as source, copy.path.open("wb") as target:
            while piece := source.read(min(_PIECE, left)):
                target.write(piece)
                left -= len(piece)
        yield replace(copy, mtime_ns=copy.path.stat().st_mtime_ns)
