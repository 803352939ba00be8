"""The rate limit that all processes share, and the pause that a server asks for.

How many calls are allowed in all is in `budget.py`; how headers ask for a pause, in `headers.py`.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mt_pipeline.enrichment.provider import ProviderStopped

LONGEST_HOLD = 24 * 3600
"""Seconds for which a server may ask for no calls. After a day it gets one, whatever it asked."""

_LONGEST_LOCK = 60
"""Seconds to wait for another process, which needs the file for milliseconds."""

_TABLE = """
    CREATE TABLE IF NOT EXISTS hold
    (one INTEGER PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL)
"""
_HOLD, _CALL = 1, 2
"""The rows: the pause that the server asked for, and the pause after the last call."""


class SharedRate:
    """At most so many calls a second, over all processes that name the same file.

    Callers do not queue here: `answers/store.py` makes them take turns.
    """

    def __init__(self, path: Path, *, per_second: float) -> None:
        """Name the file and the rate.

        Args:
            path: SQLite file, created with its folder by the first call.
            per_second: calls a second, above 0; 0.1 is one call in ten seconds.
        """
        if per_second <= 0:
            raise ValueError(f"a rate of {per_second} calls a second lets nothing pass")
        self._path = path
        self._interval = 1 / per_second

    def wait(self, *, longest_hold: float = LONGEST_HOLD) -> None:
        """Wait until the next call may be made, and count it.

        Args:
            longest_hold: seconds; raise instead of waiting longer for a server.

        Raises:
            ProviderStopped: the server asked for a longer pause. Or the file cannot be used, so
                that nobody knows how fast the other processes call.
        """
        while True:
            with self._transaction() as file:
                hold = _left(file, _HOLD, LONGEST_HOLD)
                if hold > longest_hold:
                    until = datetime.fromtimestamp(time.time() + hold, UTC)
                    raise ProviderStopped(
                        f"the server wants no request before {until:%Y-%m-%d %H:%M:%S} UTC; "
                        "run again then"
                    )
                pause = max(hold, _left(file, _CALL, self._interval))
                if pause <= 0:
                    _pause(file, _CALL, self._interval)
                    return
            time.sleep(pause)

    def hold(self, seconds: float) -> None:
        """Let no process call for so many seconds, at most LONGEST_HOLD; a longer hold stays.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        seconds = min(seconds, LONGEST_HOLD)
        with self._transaction() as file:
            if seconds > _left(file, _HOLD, LONGEST_HOLD):
                _pause(file, _HOLD, seconds)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_LONGEST_LOCK)) as file, file:
                file.execute("BEGIN IMMEDIATE")
                file.execute(_TABLE)
                yield file
        except (sqlite3.Error, OSError) as error:
            raise ProviderStopped(
                f"{self._path}: the file that limits the rate of calls cannot be used ({error}); "
                "remove it and run again"
            ) from None


def _left(file: sqlite3.Connection, row: int, longest: float) -> float:
    """Return the seconds until a pause ends, at most `longest` after its beginning."""
    pause = file.execute("SELECT since, until FROM hold WHERE one = ?", (row,)).fetchone()
    now = time.time()
    if pause is None or pause[0] > now:
        # A pause that begins in the future is from before the clock was set back. It is over.
        return 0
    since, until = pause
    end: float = min(until, since + longest)
    return end - now


def _pause(file: sqlite3.Connection, row: int, seconds: float) -> None:
    now = time.time()
    file.execute("INSERT OR REPLACE INTO hold VALUES (?, ?, ?)", (row, now, now + seconds))
