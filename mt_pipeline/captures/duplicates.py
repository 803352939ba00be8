"""Captures with the same bytes: which came first, and which are its copies.

A copy has the content and the display filter of another capture under another key. The first is the
one that was read first, of those that are loaded or at work. The caller decides what becomes of
copies.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.database import HAS_KEY, TABLE
from mt_pipeline.captures.records import Record, State

_OTHER = TABLE.alias("other")


@dataclass(frozen=True)
class Copy:
    """That a capture is a copy.

    Attributes:
        first: key of the capture that it is a copy of.
        within: both belong to one experiment.
    """

    first: str
    within: bool


def record_hash(db: sa.Connection, key: str, sha256: str, *, skipped_by: str) -> Copy | None:
    """Record the hash of a capture, and since when it is that; see `Ledger.hashed`."""
    release_copies(db, key, unless=sha256)
    known = sa.and_(
        TABLE.c.sha256 == sha256, TABLE.c.packets.is_not(None), TABLE.c.hashed_at.is_not(None)
    )
    since = sa.case((known, TABLE.c.hashed_at), else_=time.time())
    db.execute(sa.update(TABLE).where(HAS_KEY).values(sha256=sha256, hashed_at=since), {"of": key})
    copy = _copy(db, key)
    if copy and copy.within and skipped_by:
        error = (
            f"{key} has the same bytes as {copy.first}, "
            f"so it is not loaded a second time: {skipped_by}."
        )
        values = {
            "state": State.REFUSED,
            "error": error,
            "attempts": 0,
            "requested_at": None,
            "changed_at": time.time(),
        }
        db.execute(sa.update(TABLE).where(HAS_KEY).values(values), {"of": key})
    return copy


def release_copies(db: sa.Connection, key: str, *, unless: str = "") -> None:
    """Let the refused copies of this capture wait for a run, unless its hash is still `unless`."""
    content = (
        sa.select(_OTHER.c.sha256)
        .where(_OTHER.c.key == sa.bindparam("of"), _OTHER.c.sha256 != unless)
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
    """Return all loaded captures that are copies, each with the key of the first."""
    firsts: dict[tuple[str, str, str], str] = {}
    first_by_copy = {}
    loaded = [
        record
        for record in records
        if record.state is State.DONE and record.sha256 and record.hashed_at
    ]
    for record in sorted(loaded, key=lambda record: record.hashed_at or 0):
        content = record.sha256 or "", record.filter or ""
        in_experiment = firsts.setdefault((*content, record.experiment), record.key)
        in_all = firsts.setdefault((*content, ""), record.key)
        if record.key != in_all:
            first_by_copy[record.key] = in_experiment if in_experiment != record.key else in_all
    return first_by_copy


def _copy(db: sa.Connection, key: str) -> Copy | None:
    """Return what this capture is a copy of, of its own experiment if possible."""
    same = sa.and_(
        _OTHER.c.sha256 == TABLE.c.sha256,
        _OTHER.c.key != TABLE.c.key,
        sa.func.coalesce(_OTHER.c.filter, "") == sa.func.coalesce(TABLE.c.filter, ""),
        _OTHER.c.state.in_([State.RUNNING, State.DONE]),
        _OTHER.c.hashed_at < TABLE.c.hashed_at,
    )
    within = (_OTHER.c.experiment == TABLE.c.experiment).label("within")
    firsts = (
        sa.select(_OTHER.c.key, within)
        .select_from(TABLE.join(_OTHER, same))
        .where(HAS_KEY)
        .order_by(within.desc(), _OTHER.c.hashed_at)
    )
    row = db.execute(firsts.limit(1), {"of": key}).first()
    return Copy(row.key, bool(row.within)) if row else None
