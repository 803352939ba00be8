"""Captures with the same bytes: which came first, and which are its copies. What a user wants done with a copy is for the caller to say.

A copy has the same content and the same display filter, under another key; first is who was read first of those that are loaded or at work.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.records import TABLE, Record, State
from mt_pipeline.captures.scan import OF_KEY

_OTHER = TABLE.alias("other")


@dataclass(frozen=True)
class Copy:
    """That a capture is a copy.

    Attributes:
        of: key of the first one.
        within: both are of one experiment.
    """

    of: str
    within: bool


def note(db: sa.Connection, key: str, sha256: str, *, skipped_by: str) -> Copy | None:
    """Note what the content of a capture is, and since when it is that; see `Ledger.hashed`."""
    free(db, key, but=sha256)
    known = sa.and_(
        TABLE.c.sha256 == sha256, TABLE.c.packets.is_not(None), TABLE.c.hashed_at.is_not(None)
    )
    since = sa.case((known, TABLE.c.hashed_at), else_=time.time())
    db.execute(sa.update(TABLE).where(OF_KEY).values(sha256=sha256, hashed_at=since), {"of": key})
    copy = _first(db, key)
    if copy and copy.within and skipped_by:
        error = f"{key} has the same bytes as {copy.of}, so it is not loaded a second time: {skipped_by}."
        values = {
            "state": State.REFUSED,
            "error": error,
            "attempts": 0,
            "requested_at": None,
            "changed_at": time.time(),
        }
        db.execute(sa.update(TABLE).where(OF_KEY).values(values), {"of": key})
    return copy


def free(db: sa.Connection, key: str, *, but: str = "") -> None:
    """Let refused copies of what this capture was wait for their turn, unless its content still is `but`."""
    content = (
        sa.select(_OTHER.c.sha256)
        .where(_OTHER.c.key == sa.bindparam("of"), _OTHER.c.sha256 != but)
        .scalar_subquery()
    )
    refused = sa.and_(TABLE.c.sha256 == content, TABLE.c.state == State.REFUSED)
    db.execute(
        sa.update(TABLE)
        .where(refused)
        .values(state=State.WAITING, error=None, requested_at=None, changed_at=time.time()),
        {"of": key},
    )


def copies(records: Iterable[Record]) -> dict[str, str]:
    """Find all loaded captures that are copies of another one, with that one's key."""
    firsts: dict[tuple[str, str, str], str] = {}
    found = {}
    loaded = [
        record
        for record in records
        if record.state is State.DONE and record.sha256 and record.hashed_at
    ]
    for record in sorted(loaded, key=lambda record: record.hashed_at or 0):
        content = record.sha256 or "", record.filter or ""
        of_experiment = firsts.setdefault((*content, record.experiment), record.key)
        of_all = firsts.setdefault((*content, ""), record.key)
        if record.key != of_all:
            found[record.key] = of_experiment if of_experiment != record.key else of_all
    return found


def _first(db: sa.Connection, key: str) -> Copy | None:
    """Find the capture that this one is a copy of; one of its own experiment, if there is one."""
    same = sa.and_(
        _OTHER.c.sha256 == TABLE.c.sha256,
        _OTHER.c.key != TABLE.c.key,
        sa.func.coalesce(_OTHER.c.filter, "") == sa.func.coalesce(TABLE.c.filter, ""),
        _OTHER.c.state.in_([State.RUNNING, State.DONE]),
        _OTHER.c.hashed_at < TABLE.c.hashed_at,
    )
    within = (_OTHER.c.experiment == TABLE.c.experiment).label("within")
    found = (
        sa.select(_OTHER.c.key, within)
        .select_from(TABLE.join(_OTHER, same))
        .where(OF_KEY)
        .order_by(within.desc(), _OTHER.c.hashed_at)
    )
    row = db.execute(found.limit(1), {"of": key}).first()
    return Copy(row.key, bool(row.within)) if row else None
