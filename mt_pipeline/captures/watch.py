"""When the inbox is worth a look: something in it changed, or a file of it may have settled.

It compares walks in memory and changes no record. What a look finds is `scan.py`.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mt_pipeline.captures import inbox
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.store import Inbox

_PAUSE_SECONDS = 0.5
_STORE_PAUSE_SECONDS = 5
"""Between two listings of a store, which may want money for each."""

_PAUSE_FACTOR = 50
"""Pause after a walk, in times of that walk: a full inbox costs a fiftieth of a core."""


def looks(
    place: Inbox, ledger: Ledger, *, settle: float, seconds: float, ending: threading.Event
) -> Iterator[Walk]:
    """Yield a walk whenever it is worth a look: now, and for some time whenever it has changed.

    File systems of other machines tell of no changes, so it walks the inbox again and again.

    Args:
        place: the inbox.
        ledger: knows the files that have yet to settle.
        settle: seconds of quiet after which a file has settled.
        seconds: when to end.
        ending: once it is set, this ends at once.
    """
    end = time.monotonic() + seconds
    walk, pause = _walk(place)
    while True:
        looked = time.time()
        yield walk
        due = ledger.next_settled(settle, now=looked)
        while True:
            left = end - time.monotonic()
            until_due = due - time.time() if due else left
            if left <= 0 or ending.wait(max(0, min(pause, until_due, left))):
                return
            before, (walk, pause) = walk, _walk(place)
            if walk != before or (due and time.time() >= due):
                break


def _walk(place: Inbox) -> tuple[Walk, float]:
    """Walk the inbox; return also the seconds until the next walk."""
    started = time.monotonic()
    walk = inbox.walk(place)
    least = _PAUSE_SECONDS if isinstance(place, Path) else _STORE_PAUSE_SECONDS
    return walk, max(least, _PAUSE_FACTOR * (time.monotonic() - started))
