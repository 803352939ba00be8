"""The rate limit that all processes share, and the pause that a server asks for.

How many calls are allowed in all is in `budget.py`; how headers ask for a pause, in `headers.py`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mt_pipeline.enrichment.netify import calls
from mt_pipeline.enrichment.netify.calls import Unusable
from mt_pipeline.enrichment.provider import ProviderStopped
from mt_pipeline.state.postgres import Execute, Postgres, StateError

LONGEST_HOLD = 24 * 3600
"""Seconds for which a server may ask for no calls. After a day it gets one, whatever it asked."""

FILE = "rate.sqlite"

TABLE = """
    CREATE TABLE IF NOT EXISTS hold
    (one INTEGER PRIMARY KEY, since DOUBLE PRECISION NOT NULL, until DOUBLE PRECISION NOT NULL)
"""
_HOLD, _CALL = 1, 2
"""The rows: the pause that the server asked for, and the pause after the last call."""


class SharedRate:
    """At most so many calls a second, over all processes that name the same place.

    Callers do not queue here: `answers/store.py` makes them take turns.
    """

    def __init__(self, place: Path | Postgres, *, per_second: float) -> None:
        """Name the place and the rate.

        Args:
            place: SQLite file, created with its folder by the first call; or Postgres.
            per_second: calls a second, above 0; 0.1 is one call in ten seconds.
        """
        if per_second <= 0:
            raise ValueError(f"a rate of {per_second} calls a second lets nothing pass")
        self._kept = calls.opened(place, TABLE)
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
            with self._transaction() as execute:
                hold = _left(execute, _HOLD, LONGEST_HOLD)
                if hold > longest_hold:
                    until = datetime.fromtimestamp(time.time() + hold, UTC)
                    raise ProviderStopped(
                        f"the server wants no request before {until:%Y-%m-%d %H:%M:%S} UTC; "
                        "run again then"
                    )
                pause = max(hold, _left(execute, _CALL, self._interval))
                if pause <= 0:
                    _pause(execute, _CALL, self._interval)
                    return
            time.sleep(pause)

    def hold(self, seconds: float) -> None:
        """Let no process call for so many seconds, at most LONGEST_HOLD; a longer hold stays.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        seconds = min(seconds, LONGEST_HOLD)
        with self._transaction() as execute:
            if seconds > _left(execute, _HOLD, LONGEST_HOLD):
                _pause(execute, _HOLD, seconds)

    @contextmanager
    def _transaction(self) -> Iterator[Execute]:
        try:
            with self._kept.transaction() as execute:
                yield execute
        except StateError as error:
            raise ProviderStopped(f"{error}, so no call is made; run again then") from None
        except Unusable as error:
            raise ProviderStopped(
                f"{self._kept}: the file that limits the rate of calls cannot be used ({error}); "
                "remove it and run again"
            ) from None


def _left(execute: Execute, row: int, longest: float) -> float:
    """Return the seconds until a pause ends, at most `longest` after its beginning."""
    pauses = execute("SELECT since, until FROM hold WHERE one = ?", row)
    now = time.time()
    if not pauses or pauses[0][0] > now:
        # A pause that begins in the future is from before the clock was set back. It is over.
        return 0
    [(since, until)] = pauses
    end: float = min(until, since + longest)
    return end - now


def _pause(execute: Execute, row: int, seconds: float) -> None:
    now = time.time()
    execute(
        "INSERT INTO hold VALUES (?, ?, ?) "
        "ON CONFLICT (one) DO UPDATE SET since = excluded.since, until = excluded.until",
        row,
        now,
        now + seconds,
    )
