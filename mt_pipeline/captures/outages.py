"""Captures that an outage gave back: how long each waits for its next run, and whether the outage goes on.

An outage is whatever is no fault of the capture: a full disk, a QuestDB that is away. What counts as one is for the caller to say.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.records import TABLE, State

FIRST_PAUSE, LONGEST_PAUSE = 15, 600
"""Seconds before a capture is asked for again: twice as long each time, up to the longest."""

MOST_RETURNS = 3
"""Outages that a capture may be the cause of, after which it has failed."""

_OTHER = TABLE.alias("other")


@dataclass(frozen=True)
class Outage:
    """What keeps captures from being loaded just now.

    Attributes:
        reason: what the last run said.
        pause: seconds before it is tried again; 0 if it may be tried now.
    """

    reason: str
    pause: float


def pause(returned: int, returned_at: float | None, now: float) -> float:
    """Say how many seconds a capture still waits. A time that is yet to come means that the clock was set back: nobody waits for that."""
    if returned_at is None or not returned or now < returned_at:
        return 0
    whole: int = min(FIRST_PAUSE << min(returned - 1, 10), LONGEST_PAUSE)
    return max(returned_at + whole - now, 0)


def present(db: sa.Connection, *, now: float) -> Outage | None:
    """Find the outage that goes on: a capture was given back, and none has been loaded since."""
    loaded = (
        sa.select(sa.func.coalesce(sa.func.max(_OTHER.c.changed_at), 0))
        .where(_OTHER.c.state == State.DONE)
        .scalar_subquery()
    )
    back = sa.select(TABLE.c.error, TABLE.c.returned, TABLE.c.returned_at).where(
        TABLE.c.state.in_([State.WAITING, State.RUNNING]),
        TABLE.c.returned > 0,
        TABLE.c.returned_at > loaded,
    )
    last = db.execute(back.order_by(TABLE.c.returned_at.desc()).limit(1)).first()
    return Outage(last.error or "", pause(last.returned, last.returned_at, now)) if last else None


def others_were_loaded(db: sa.Connection, key: str, since: float | None) -> bool:
    """Say whether another capture was loaded since then, so that what happens to this one again may be its own fault."""
    if since is None:
        return False
    others = sa.select(TABLE.c.key).where(
        TABLE.c.state == State.DONE, TABLE.c.key != key, TABLE.c.changed_at > since
    )
    return db.execute(others.limit(1)).first() is not None
