"""The budget of calls of a provider, per day and per run. `rate_limit.py` limits their rate.

A call is counted on disk before it is made. So neither a kill nor any number of processes exceeds
the limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from mt_pipeline.enrichment.netify import calls
from mt_pipeline.enrichment.netify.calls import Damaged, Unusable
from mt_pipeline.enrichment.provider import BudgetSpent, ProviderStopped
from mt_pipeline.state.postgres import Execute, Postgres, StateError

KEEP_DAYS = timedelta(days=31)
KEEP_RUNS = timedelta(days=7)

FILE = "budget.sqlite"

TABLES = (
    "CREATE TABLE IF NOT EXISTS days (provider TEXT, day TEXT, calls INTEGER NOT NULL, "
    "PRIMARY KEY (provider, day))",
    "CREATE TABLE IF NOT EXISTS runs (provider TEXT, run TEXT, day TEXT NOT NULL, "
    "calls INTEGER NOT NULL, PRIMARY KEY (provider, run))",
)


class Budget:
    """The calls of one provider, counted where all processes share the count.

    Days are in UTC and never go back: while the clock is behind the latest day, that day continues.
    """

    def __init__(
        self,
        folder: Path | Postgres,
        *,
        provider: str,
        run: str,
        per_day: int | None,
        per_run: int | None,
    ) -> None:
        """Set the limits; the first call creates what is missing.

        Args:
            folder: folder of a small SQLite file, or Postgres.
            provider: name of the provider.
            run: id of the run; all its processes and captures share its limit.
            per_day: maximum calls per day; None for no limit.
            per_run: maximum calls per run; None for no limit.
        """
        place = folder / FILE if isinstance(folder, Path) else folder
        self._kept = calls.opened(place, *TABLES)
        self._provider = provider
        self._run = run
        self._limits = per_day, per_run
        self._settings = tuple(
            f"MT_{provider.upper()}_BUDGET_{period}" for period in ("DAY", "RUN")
        )

    def spend(self) -> None:
        """Count one call, which may be made afterwards.

        Raises:
            BudgetSpent: it must not be made.
            ProviderStopped: the file cannot be used, so the calls so far are not known.
        """
        for setting, limit in zip(self._settings, self._limits, strict=True):
            if limit == 0:
                raise BudgetSpent(
                    f"{setting} is 0, so {self._provider} is never asked; raise it to ask"
                )
        with self._open() as execute:
            day, so_far = self._calls_of(execute)
            self._check(day, *so_far)
            execute(
                "INSERT INTO days VALUES (?, ?, 1) "
                "ON CONFLICT (provider, day) DO UPDATE SET calls = days.calls + 1",
                self._provider,
                str(day),
            )
            execute(
                "INSERT INTO runs VALUES (?, ?, ?, 1) ON CONFLICT (provider, run) "
                "DO UPDATE SET calls = runs.calls + 1, day = excluded.day",
                self._provider,
                self._run,
                str(day),
            )
            if so_far[0] == 0:  # the first call of a day
                execute("DELETE FROM days WHERE day < ?", str(day - KEEP_DAYS))
                execute("DELETE FROM runs WHERE day < ?", str(day - KEEP_RUNS))

    def spent_today(self) -> int:
        """Return the number of calls today, over all runs.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        return self._calls()[0]

    def left(self) -> int | None:
        """Return the number of calls that may still be made now; None without a limit.

        Raises:
            ProviderStopped: the file cannot be used.
        """
        left = [
            limit - calls
            for limit, calls in zip(self._limits, self._calls(), strict=True)
            if limit is not None
        ]
        return max(0, min(left)) if left else None

    def _calls(self) -> tuple[int, int]:
        if self._kept.is_empty():  # reading creates no file
            return 0, 0
        with self._open(writes=False) as execute:
            return self._calls_of(execute)[1]

    def _calls_of(self, execute: Execute) -> tuple[date, tuple[int, int]]:
        """Return the current day, and the calls of this day and of this run."""
        today = datetime.now(UTC).date()
        [(latest,)] = execute("SELECT max(day) FROM days WHERE provider = ?", self._provider)
        day = today if latest is None else max(today, date.fromisoformat(latest))
        of_day = "SELECT calls FROM days WHERE provider = ? AND day = ?"
        of_run = "SELECT calls FROM runs WHERE provider = ? AND run = ?"
        day_calls = execute(of_day, self._provider, str(day))
        run_calls = execute(of_run, self._provider, self._run)
        return day, (day_calls[0][0] if day_calls else 0, run_calls[0][0] if run_calls else 0)

    def _check(self, day: date, day_calls: int, run_calls: int) -> None:
        """Raise BudgetSpent if no call may be made."""
        per_day, per_run = self._limits
        if per_day is not None and day_calls >= per_day:
            until, ahead = day + timedelta(days=1), day > datetime.now(UTC).date()
            hint = f"; the clock was at {day} before: if that was wrong, remove {self._kept}"
            raise BudgetSpent(
                f"{self._settings[0]} allows {per_day:,} calls a day, and {day_calls:,} were made; "
                f"asking goes on at {until} 00:00 UTC{hint if ahead else ''}"
            )
        if per_run is not None and run_calls >= per_run:
            raise BudgetSpent(
                f"{self._settings[1]} allows {per_run:,} calls a run, and {run_calls:,} were made; "
                "asking goes on with the next run"
            )

    @contextmanager
    def _open(self, *, writes: bool = True) -> Iterator[Execute]:
        try:
            with self._kept.transaction(writes=writes) as execute:
                yield execute
        except StateError as error:
            raise ProviderStopped(f"{error}, so no call is made; run again then") from None
        except (Damaged, ValueError, TypeError, OverflowError) as error:
            raise ProviderStopped(
                f"{self._kept}: the count of calls is damaged ({error}), so none is made; "
                "remove the file and run again: the count begins at 0"
            ) from None
        except Unusable as error:
            raise ProviderStopped(
                f"{self._kept}: calls cannot be counted ({error}), so none is made; "
                "free disk space or correct the permissions, and run again"
            ) from None
