"""The progress of all captures together: how many are loaded, the rate, the time left."""

from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.records import State

RECENT_SECONDS = 300
"""The rate is that of the verdicts of this time."""

_VERDICTS = [State.DONE, State.FAILED]


@dataclass(frozen=True)
class Progress:
    """How much is done.

    Attributes:
        done: captures whose rows are stored.
        failed: captures that failed.
        left: captures that wait, or are at work.
        rate: verdicts a second; None if there are too few to tell.
    """

    done: int
    failed: int
    left: int
    rate: float | None

    def __str__(self) -> str:
        """Return it as a line for people."""
        total = self.done + self.failed + self.left
        failed = [f"{self.failed:,} failed"] if self.failed else []
        return ", ".join([f"{self.done:,} of {total:,} captures in", *failed, *self.pace])

    @property
    def pace(self) -> list[str]:
        """The rate and the time left; empty if nothing is left, or there are too few verdicts."""
        if not self.left or not self.rate:
            return []
        return [f"{self.rate:.1f} a second", f"{duration(self.left / self.rate)} left"]


def count(db: sa.Connection, *, now: float) -> Progress:
    """Count the records; see `Ledger.progress`."""
    rows = db.execute(sa.select(TABLE.c.state, sa.func.count()).group_by(TABLE.c.state))
    by_state = {state: number for state, number in rows}
    recent = sa.select(sa.func.count(), sa.func.min(TABLE.c.changed_at)).where(
        TABLE.c.state.in_(_VERDICTS), TABLE.c.changed_at > now - RECENT_SECONDS
    )
    number, since = db.execute(recent).one()
    # The first verdict only marks the time from which the others are counted.
    rate = (number - 1) / (now - since) if number > 1 and now > since else None
    left = by_state.get(State.WAITING, 0) + by_state.get(State.RUNNING, 0)
    return Progress(by_state.get(State.DONE, 0), by_state.get(State.FAILED, 0), left, rate)


def duration(seconds: float) -> str:
    """Return a time in the unit that people would choose: `40 s`, `5 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
