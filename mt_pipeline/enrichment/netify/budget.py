"""How many calls a provider may still make, today and in this run. What a call is, and how fast they follow each other, is not said here.

A call is counted on disk before it is made, so neither a kill nor any number of processes makes more calls than are allowed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from mt_pipeline.enrichment.provider import BudgetSpent, ProviderStopped

KEEP_DAYS = timedelta(days=31)
KEEP_RUNS = timedelta(days=7)
LONGEST_LOCK = 60
"""Seconds to wait for other processes; each counts in milliseconds."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS days (provider TEXT, day TEXT, calls INTEGER NOT NULL, PRIMARY KEY (provider, day))",
    "CREATE TABLE IF NOT EXISTS runs (provider TEXT, run TEXT, day TEXT NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (provider, run))",
)


class Budget:
    """The calls of one provider, counted in a small SQLite file that all processes share.

    A day is a day in UTC. The days of the count never go back: while the clock is behind the latest of them, that one goes on.
    """

    def __init__(
        self, folder: Path, *, provider: str, run: str, per_day: int | None, per_run: int | None
    ) -> None:
        """Name the file and the limits; the file is made when the first call is counted.

        Args:
            folder: where the file lies, or will.
            provider: whose calls are counted.
            run: id of the run; all processes and captures of it share its limit.
            per_day: calls a day at most; None for no limit.
            per_run: calls a run at most; None for no limit.
        """
        self._path = folder / "budget.sqlite"
        self._provider = provider
        self._run = run
        self._limits = per_day, per_run
        self._settings = tuple(f"MT_{provider.upper()}_BUDGET_{each}" for each in ("DAY", "RUN"))

    def spend(self) -> None:
        """Count one call, which may then be made.

        Raises:
            BudgetSpent: it may not be made.
            ProviderStopped: the file cannot be used, so nobody knows how many calls were made.
        """
        for setting, limit in zip(self._settings, self._limits, strict=True):
            if limit == 0:
                raise BudgetSpent(
                    f"{setting} is 0, so {self._provider} is never asked; raise it to ask"
                )
        with self._open() as file:
            file.execute("BEGIN IMMEDIATE")  # who counts next waits here
            day, made = self._made(file)
            self._refuse(day, *made)
            file.execute(
                "INSERT INTO days VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET calls = calls + 1",
                (self._provider, str(day)),
            )
            file.execute(
                "INSERT INTO runs VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET calls = calls + 1, day = excluded.day",
                (self._provider, self._run, str(day)),
            )
            if made[0] == 0:  # the first call of a day
                file.execute("DELETE FROM days WHERE day < ?", (str(day - KEEP_DAYS),))
                file.execute("DELETE FROM runs WHERE day < ?", (str(day - KEEP_RUNS),))
            file.execute("COMMIT")

    def spent_today(self) -> int:
        """Return the calls of today, over all runs.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        return self._calls()[0]

    def left(self) -> int | None:
        """Return how many calls may still be made now; None if there is no limit.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        left = [
            limit - made
            for limit, made in zip(self._limits, self._calls(), strict=True)
            if limit is not None
        ]
        return max(0, min(left)) if left else None

    def _calls(self) -> tuple[int, int]:
        if not self._path.exists():  # who only looks makes no file
            return 0, 0
        with self._open() as file:
            return self._made(file)[1]

    def _made(self, file: sqlite3.Connection) -> tuple[date, tuple[int, int]]:
        """Return the day that it is, and the calls of this day and of this run."""
        today = datetime.now(UTC).date()
        [(latest,)] = file.execute(
            "SELECT max(day) FROM days WHERE provider = ?", (self._provider,)
        )
        day = today if latest is None else max(today, date.fromisoformat(latest))
        of_day = file.execute(
            "SELECT calls FROM days WHERE provider = ? AND day = ?", (self._provider, str(day))
        ).fetchone()
        of_run = file.execute(
            "SELECT calls FROM runs WHERE provider = ? AND run = ?", (self._provider, self._run)
        ).fetchone()
        return day, (of_day[0] if of_day else 0, of_run[0] if of_run else 0)

    def _refuse(self, day: date, of_day: int, of_run: int) -> None:
        """Raise BudgetSpent if no more call may be made."""
        per_day, per_run = self._limits
        if per_day is not None and of_day >= per_day:
            until, ahead = day + timedelta(days=1), day > datetime.now(UTC).date()
            raise BudgetSpent(
                f"{self._settings[0]} allows {per_day:,} calls a day, and {of_day:,} were made; asking goes on at {until} 00:00 UTC"
                + (
                    f"; the clock was at {day} before: if that was wrong, remove {self._path}"
                    if ahead
                    else ""
                )
            )
        if per_run is not None and of_run >= per_run:
            raise BudgetSpent(
                f"{self._settings[1]} allows {per_run:,} calls a run, and {of_run:,} were made; asking goes on with the next run"
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self._path, timeout=LONGEST_LOCK, isolation_level=None)
            ) as file:
                file.execute(
                    "PRAGMA synchronous = FULL"
                )  # a call that was counted stays so through a power cut
                for table in _TABLES:
                    file.execute(table)
                yield file
        except (sqlite3.OperationalError, OSError) as error:
            raise ProviderStopped(
                f"{self._path}: calls cannot be counted ({error}), so none is made; make room or set the permissions right, and run again"
            ) from None
        except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError) as error:
            raise ProviderStopped(
                f"{self._path}: the count of calls is damaged ({error}), so none is made; remove the file and run again: the count begins at 0"
            ) from None
