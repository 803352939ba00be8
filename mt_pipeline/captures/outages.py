"""Captures that an outage gave back: how long each waits, and whether the outage continues.

An outage is no fault of the capture: a full disk, an unreachable QuestDB. The caller decides what
counts as one.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.records import State

FIRST_PAUSE, LONGEST_PAUSE = 15, 600
"""Seconds before a capture is requested again: doubled each time, up to the longest."""

MOST_RETURNS = 3
"""Outages that a capture may be the cause of, after which it has failed."""

_OTHER = TABLE.alias("other")


@dataclass(frozen=True)
class Outage:
    """What prevents captures from being loaded at present.

    Attributes:
        reason: the error of the last run.
        pause: seconds before the next attempt; 0 if it may begin now.
    """

    reason: str
    pause: float


def pause(returned: int, returned_at: float | None, now: float) -> float:
    """Return how many seconds a capture still waits.

    It does not wait if `returned_at` is in the future: then the clock was set back.
    """
    if returned_at is None or not returned or now < returned_at:
        return 0
    seconds: int = min(FIRST_PAUSE << min(returned - 1, 10), LONGEST_PAUSE)
    return max(returned_at + seconds - now, 0)


def present(db: sa.Connection, *, now: float) -> Outage | None:
    """Return the present outage: a capture was given back, and none has been loaded since."""
    loaded = (
        sa.select(sa.func.coalesce(sa.func.max(_OTHER.c.changed_at), 0))
        .where(_OTHER.c.state == State.DONE)
        .scalar_subquery()
    )
    returned = sa.select(TABLE.c.error, TABLE.c.returned, TABLE.c.returned_at).where(
        TABLE.c.state.in_([State.WAITING, State.RUNNING]),
        TABLE.c.returned > 0,
        TABLE.c.returned_at > loaded,
    )
    last = db.execute(returned.order_by(TABLE.c.returned_at.desc()).limit(1)).first()
    return Outage(last.error or "", pause(last.returned, last.returned_at, now)) if last else None


def others_were_loaded(db: sa.Connection, key: str, since: float | None) -> bool:
    """Return whether another capture was loaded since then: if so, this one may be at fault."""
    if since is None:
        return False
    others = sa.select(TABLE.c.key).where(
        TABLE.c.state == State.DONE, TABLE.c.key != key, TABLE.c.changed_at > since
    )
    return db.execute(others.limit(1)).first() is not None
