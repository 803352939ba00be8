"""A rate limit that all processes share, and a break that a server asks for. Who asks what, and what a server says, is not said here."""

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pyrate_limiter import Limiter, Rate, SQLiteBucket
from pyrate_limiter.limiter import SingleBucketFactory

from mt_pipeline.enrichment.provider import ProviderStopped

LONGEST_HOLD = 24 * 3600
"""Seconds for which a server is believed that it wants no call: after a day it is asked again, whatever it said."""


class SharedRate:
    """At most so many calls a second, over all processes that name the same file.

    The times of the last calls lie in a small SQLite file (pyrate-limiter's bucket) behind a file lock. Who waits does not stand in a queue:
    callers that want equal shares take turns by themselves, as `store.py` makes them. An object is used by one thread.
    """

    def __init__(self, path: Path, *, per_second: float) -> None:
        """Name the file and the rate; the file is made when it is first needed.

        Args:
            path: the file; its folder is made.
            per_second: calls a second, above 0; 0.1 is one call in ten seconds.
        """
        if per_second <= 0:
            raise ValueError(f"a rate of {per_second} calls a second lets nothing pass")
        self._path = path
        # Evenly spaced: a burst of a second's calls would pass, too, but serves nobody.
        self._rate = Rate(1, max(1, round(1000 / per_second)))
        self._open: tuple[Limiter, SQLiteBucket] | None = None

    def wait(self, *, longest_hold: float = LONGEST_HOLD) -> None:
        """Wait until one more call may be made, and count it.

        Args:
            longest_hold: seconds; who would have to wait longer because of `hold` stops instead.

        Raises:
            ProviderStopped: a longer wait is wanted. Or the file cannot be used; without it nobody would know how fast the others ask.
        """
        try:
            limiter, bucket = self._open = self._open or self._opened()
            while (held := _held(bucket)) > 0:
                if held > longest_hold:
                    until = datetime.fromtimestamp(time.time() + held, UTC)
                    raise ProviderStopped(
                        f"the server wants no request before {until:%Y-%m-%d %H:%M:%S} UTC; run again then"
                    )
                time.sleep(held)
            now = time.time_ns() // 1_000_000  # as the bucket counts
            bucket.leak(now)
            newest = bucket.peek(0)
            # A clock that was set back leaves calls "in the future", which would count against us until it gets there.
            if newest is not None and newest.timestamp > now + self._rate.interval:
                bucket.flush()
            limiter.try_acquire()
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None

    def hold(self, seconds: float) -> None:
        """Let no process call for so many seconds, at most LONGEST_HOLD; a longer hold stays.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        try:
            _, bucket = self._open = self._open or self._opened()
            now = time.time()
            until = now + min(seconds, LONGEST_HOLD)
            if until - now > _held(bucket):
                with bucket.lock, bucket.conn:
                    bucket.conn.execute(
                        "INSERT OR REPLACE INTO hold VALUES (1, ?, ?)", (now, until)
                    )
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def _unusable(self, error: Exception) -> ProviderStopped:
        return ProviderStopped(
            f"{self._path}: the file that limits the rate of calls cannot be used ({error}); remove it and run again"
        )

    def _opened(self) -> tuple[Limiter, SQLiteBucket]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(
            sqlite3.connect(self._path)
        ) as probe:  # the bucket would leave a connection open when it finds garbage
            probe.execute(
                "CREATE TABLE IF NOT EXISTS hold (one INTEGER PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL)"
            )
        bucket = SQLiteBucket.init_from_file(
            [self._rate], db_path=str(self._path), use_file_lock=True
        )
        # Old calls are leaked in wait(): the library would start a thread for it. No buffer: waits are exact to the millisecond already.
        return Limiter(SingleBucketFactory(bucket, schedule_leak=False), buffer_ms=0), bucket


def _held(bucket: SQLiteBucket) -> float:
    """Return for how many seconds calls are held back."""
    row = bucket.conn.execute("SELECT since, until FROM hold").fetchone()
    now = time.time()
    # A hold from the future was made before the clock was set back: how long it still is, nobody knows.
    return min(row[1] - now, LONGEST_HOLD) if row and row[0] <= now else 0
