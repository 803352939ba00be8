"""One walk of the inbox against the records: what is new, changed, settled, refused or deleted.

The memory between two walks is the ledger, so it survives a restart. All other changes of a record
are in `ledger.py`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from mt_pipeline.captures import growing, outages, rotation
from mt_pipeline.captures.database import HAS_KEY, IN_HAND, TABLE, Values, upsert
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.naming import experiment_of, storable
from mt_pipeline.captures.records import NO_FILE, Record, State

Row: TypeAlias = sa.Row[
    tuple[str, int, int, str, float, int | None, str | None, int, int, float | None, int, bool]
]
Known: TypeAlias = Mapping[str, Row]

_COLUMNS = (
    TABLE.c.key,
    TABLE.c.size,
    TABLE.c.mtime_ns,
    TABLE.c.state,
    TABLE.c.seen_at,
    TABLE.c.packets,
    TABLE.c.error,
    TABLE.c.attempts,
    TABLE.c.returned,
    TABLE.c.returned_at,
    TABLE.c.taken,
)


def look(
    db: sa.Connection, walk: Walk, *, settle: float, now: float, follow: bool
) -> list[Capture]:
    """Record a walk and return what can be requested; see `Ledger.look`."""
    known = _known(db, walk, now)
    news = [*_changed(walk, known, now), *_refused(walk, known, now)]
    _write(db, news, known)
    missing = known.keys() - {capture.key for capture in walk.captures}
    missing -= {refused.key for refused in walk.refused}
    deleted = {key for key in missing if not walk.may_have(key)}
    _settle_deleted(db, known, deleted, now)
    waiting = _waiting(walk, known, news, now)
    quiet = settle - min(0.5, settle / 10)  # the timer between two looks is not exact
    complete = rotation.complete(waiting, walk.captures)
    ready = []
    for capture in waiting:
        row = known.get(capture.key)
        taken = row.taken if row else 0
        # A negative age means that the clock was set back, so that it was seen by an earlier look.
        is_settled = not 0 <= now - capture.seen_at < quiet or capture.key in complete
        if is_settled or (follow and growing.is_due(capture.size, taken)):
            ready.append(capture)
    return sorted(ready, key=lambda capture: (-capture.seen_at, capture.key))


def next_settled(db: sa.Connection, *, settle: float, now: float) -> float | None:
    """Return when the next file settles that has yet to do so; see `Ledger.next_settled`."""
    waits = sa.and_(TABLE.c.state == State.WAITING, TABLE.c.requested_at.is_(None))
    first: float | None = db.execute(
        sa.select(sa.func.min(TABLE.c.seen_at)).where(waits, TABLE.c.seen_at > now - settle)
    ).scalar_one()
    return None if first is None else first + settle


def put_unless_in_hand(db: sa.Connection, capture: Capture, values: Values) -> None:
    """Make the record anew, with these values, unless a run is requested or at work."""
    in_hand = sa.select(TABLE.c.key).where(HAS_KEY, IN_HAND)
    if not db.execute(in_hand, {"of": capture.key}).first():
        upsert(db, seen(capture, time.time()) | values)


def restore(db: sa.Connection, key: str, before: Record | None, *, now: float) -> bool:
    """Restore the record of a file that was deleted during a run; see `Ledger.file_deleted`."""
    if before is None or before.packets is None:
        db.execute(sa.delete(TABLE).where(HAS_KEY), {"of": key})
        return False
    failed = before.state is State.FAILED
    state, error = (State.FAILED, before.error) if failed else (State.DONE, None)
    values = {
        "state": state,
        "error": error,
        "size": NO_FILE,
        "attempts": 0,
        "requested_at": None,
        "changed_at": now,
    }
    db.execute(sa.update(TABLE).where(HAS_KEY).values({**vars(before), **values}), {"of": key})
    return True


def seen(capture: Capture, now: float) -> Values:
    """Return the values of a record of a file that is seen in this form for the first time."""
    return {
        "key": capture.key,
        "path": storable(capture.location),
        "size": capture.size,
        "mtime_ns": capture.mtime_ns,
        "experiment": experiment_of(capture.key),
        "state": State.WAITING,
        "error": None,
        "attempts": 0,
        "returned": 0,
        "returned_at": None,
        "seen_at": now,
        "requested_at": None,
        "requested_by": "",
        "changed_at": now,
    }


def _known(db: sa.Connection, walk: Walk, now: float) -> Known:
    """Return what is recorded of each capture.

    What changed since the walk began may differ from what the walk saw. It counts as in hand, so
    that the next look deals with it.
    """
    in_hand = sa.or_(IN_HAND, TABLE.c.changed_at.between(walk.began, now)).label("in_hand")
    rows = db.execute(sa.select(*_COLUMNS).add_columns(in_hand)).all()
    return {row.key: row for row in rows}


def _changed(walk: Walk, known: Known, now: float) -> list[Values]:
    changed = []
    for capture in walk.captures:
        row = known.get(capture.key)
        if row is None or (
            not row.in_hand and (row.size, row.mtime_ns) != (capture.size, capture.mtime_ns)
        ):
            changed.append(seen(capture, now))
    return changed


def _refused(walk: Walk, known: Known, now: float) -> list[Values]:
    values = []
    for refused in walk.refused:
        row = known.get(refused.key)
        if row is None or (
            not row.in_hand and (row.state, row.error) != (State.REFUSED, refused.reason)
        ):
            # Without a size, so that the file counts as changed once the reason no longer applies.
            capture = Capture(refused.key, Path(), NO_FILE, 0)
            path = storable(refused.location)
            verdict = {"path": path, "state": State.REFUSED, "error": refused.reason}
            values.append(seen(capture, now) | verdict)
    return values


def _waiting(walk: Walk, known: Known, news: Sequence[Values], now: float) -> list[Capture]:
    """Return the captures that wait and are not paused, each with its `seen_at` and `attempts`."""
    new = {str(values["key"]) for values in news}
    waiting = []
    for capture in walk.captures:
        row = known.get(capture.key)
        attempts = row.attempts if row else 0
        if capture.key in new:
            waiting.append(replace(capture, seen_at=now, attempts=attempts))
        elif row and _waits(row, now):
            waiting.append(replace(capture, seen_at=row.seen_at, attempts=attempts))
    return waiting


def _waits(row: Row, now: float) -> bool:
    is_paused = outages.pause(row.returned, row.returned_at, now) > 0
    return row.state == State.WAITING and not row.in_hand and not is_paused


def _write(db: sa.Connection, news: Sequence[Values], known: Known) -> None:
    if new := [values for values in news if values["key"] not in known]:
        db.execute(sa.insert(TABLE), new)
    if changed := [values | {"of": values["key"]} for values in news if values["key"] in known]:
        db.execute(sa.update(TABLE).where(HAS_KEY), changed)


def _settle_deleted(db: sa.Connection, known: Known, deleted: set[str], now: float) -> None:
    """Settle the records of deleted files.

    A record that was never loaded is deleted; one with stored rows is done, as it was.
    """
    rows = [known[key] for key in deleted if not known[key].in_hand]
    undecided = [row for row in rows if row.state in (State.WAITING, State.REFUSED)]
    if never_loaded := [{"of": row.key} for row in undecided if row.packets is None]:
        db.execute(sa.delete(TABLE).where(HAS_KEY), never_loaded)
    settled = [
        {"of": row.key, "state": State.DONE, "error": None}
        for row in undecided
        if row.packets is not None
    ]
    # A failed capture may have failed because its file was away. It is tried again if that returns.
    settled += [
        {"of": row.key, "state": State.FAILED, "error": row.error}
        for row in rows
        if row.state == State.FAILED and row.size != NO_FILE
    ]
    if settled:
        db.execute(sa.update(TABLE).where(HAS_KEY).values(size=NO_FILE, changed_at=now), settled)
