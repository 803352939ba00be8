"""Captures that are still written: when one is taken before it is quiet, and a copy of it that grows no more.

Each take reads from the beginning, as tshark must know a stream from its start; so the next one waits until there is a tenth more to read, and
the cost of all takes stays about ten times that of the last.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mt_pipeline.captures.identity import Capture, open_capture

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
        capture: the file, as it was when we looked.
        folder: where there is room.

    Raises:
        CaptureUnreadableError: it cannot be read.
    """
    with TemporaryDirectory(dir=folder, prefix=".follow-", ignore_cleanup_errors=True) as own:
        copy = replace(capture, inbox=Path(own))
        copy.path.parent.mkdir(parents=True)
        left = capture.size
        with open_capture(capture) as source, copy.path.open("wb") as target:
            while piece := source.read(min(_PIECE, left)):
                target.write(piece)
                left -= len(piece)
        yield replace(copy, mtime_ns=copy.path.stat().st_mtime_ns)
