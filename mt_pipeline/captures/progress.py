"""How far all captures are together: how many of how many, how fast, how long still. Each by itself is in its record."""

from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.records import TABLE, State

RECENT_SECONDS = 300
"""The verdicts of this time tell how fast it goes."""

_VERDICTS = [State.DONE, State.FAILED]


@dataclass(frozen=True)
class Progress:
    """How much is done.

    Attributes:
        done: captures whose rows can be read.
        failed: captures that failed.
        left: captures that wait, or are at work.
        rate: verdicts a second; None if there are too few to tell.
    """

    done: int
    failed: int
    left: int
    rate: float | None

    def __str__(self) -> str:
        """Say it in a line for people."""
        failed = [f"{self.failed:,} failed"] if self.failed else []
        return ", ".join(
            [
                f"{self.done:,} of {self.done + self.failed + self.left:,} captures in",
                *failed,
                *self.pace,
            ]
        )

    @property
    def pace(self) -> list[str]:
        """Say how fast it goes and how long it takes still, if there is something to do and it can be told."""
        if not self.left or not self.rate:
            return []
        return [f"{self.rate:.1f} a second", f"{duration(self.left / self.rate)} left"]


def of(db: sa.Connection, *, now: float) -> Progress:
    """Count the records; see `Ledger.progress`."""
    rows = db.execute(sa.select(TABLE.c.state, sa.func.count()).group_by(TABLE.c.state))
    by_state = {state: number for state, number in rows}
    recent = sa.select(sa.func.count(), sa.func.min(TABLE.c.changed_at)).where(
        TABLE.c.state.in_(_VERDICTS), TABLE.c.changed_at > now - RECENT_SECONDS
    )
    number, since = db.execute(recent).one()
    # The first of them only says when the others began.
    rate = (number - 1) / (now - since) if number > 1 and now > since else None
    left = by_state.get(State.WAITING, 0) + by_state.get(State.RUNNING, 0)
    return Progress(by_state.get(State.DONE, 0), by_state.get(State.FAILED, 0), left, rate)


def duration(seconds: float) -> str:
    """Say a time in the unit that people would choose."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
