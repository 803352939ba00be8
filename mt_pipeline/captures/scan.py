"""One walk of the inbox held against the records: what is new, changed, settled, refused, gone.

The memory between two walks is the ledger, so this survives a restart. What else happens to a record is `ledger.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import sqlalchemy as sa

from mt_pipeline.captures import growing, outages, rotation
from mt_pipeline.captures.identity import Capture, experiment_of, storable
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.records import NO_FILE, TABLE, Record, State

Values: TypeAlias = dict[str, str | int | float | None]
Known: TypeAlias = Mapping[
    str,
    sa.Row[
        tuple[str, int, int, str, float, int | None, str | None, int, int, float | None, int, bool]
    ],
]

OF_KEY = TABLE.c.key == sa.bindparam("of")
IN_HAND = sa.or_(
    TABLE.c.state == State.RUNNING,
    sa.and_(TABLE.c.state == State.WAITING, TABLE.c.requested_at.is_not(None)),
)
"""A run is asked for, or at work: nothing that a walk sees changes the record before its verdict."""

_COLUMNS = (
    *(
        TABLE.c[name]
        for name in (
            "key",
            "size",
            "mtime_ns",
            "state",
            "seen_at",
            "packets",
            "error",
            "attempts",
            "returned",
            "returned_at",
            "taken",
        )
    ),
)


def look(
    db: sa.Connection, walk: Walk, *, settle: float, now: float, follow: bool
) -> list[Capture]:
    """Take in a walk and return what can be requested; see `Ledger.look`."""
    # What has changed since the walk began may not be as it was seen: the next look sees to it, as to what was in hand.
    in_hand = sa.or_(IN_HAND, TABLE.c.changed_at.between(walk.began, now)).label("in_hand")
    known: Known = {
        row.key: row for row in db.execute(sa.select(*_COLUMNS).add_columns(in_hand)).all()
    }
    news = [*_changed(walk, known, now), *_refused(walk, known, now)]
    _write(db, news, known)
    missing = (
        known.keys()
        - {found.key for found in walk.captures}
        - {found.key for found in walk.refused}
    )
    _let_go(db, known, {key for key in missing if not walk.may_have(key)}, now)
    seen_at = {
        key: row.seen_at
        for key, row in known.items()
        if row.state == State.WAITING and not row.in_hand
    }
    seen_at |= {str(values["key"]): now for values in news}
    quiet = settle - min(0.5, settle / 10)  # the timer between two looks is not exact
    # A time of sight that is yet to come means that the clock was set back: that look was another one, too.
    taken = {key: row.taken for key, row in known.items()}
    paused = {
        key for key, row in known.items() if outages.pause(row.returned, row.returned_at, now)
    } - {values["key"] for values in news}
    waiting = [
        capture for capture in walk.captures if capture.key in seen_at and capture.key not in paused
    ]
    complete = rotation.complete(waiting, walk.captures)
    ready = [
        capture
        for capture in waiting
        if not 0 <= now - seen_at[capture.key] < quiet
        or capture.key in complete
        or (follow and growing.is_due(capture.size, taken.get(capture.key, 0)))
    ]
    attempts = {capture.key: row.attempts for capture in ready if (row := known.get(capture.key))}
    told = (
        replace(capture, seen_at=seen_at[capture.key], attempts=attempts.get(capture.key, 0))
        for capture in ready
    )
    return sorted(told, key=lambda capture: (-capture.seen_at, capture.key))


def forget(db: sa.Connection, key: str, before: Record | None, *, now: float) -> bool:
    """Settle the record of a file that went while a run had it in hand; see `Ledger.gone`."""
    if before is None or before.packets is None:
        db.execute(sa.delete(TABLE).where(OF_KEY), {"of": key})
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
    db.execute(sa.update(TABLE).where(OF_KEY).values({**vars(before), **values}), {"of": key})
    return True


def seen(capture: Capture, now: float) -> Values:
    """Make the values of a record of a file that is seen in this form for the first time."""
    return {
        "key": capture.key,
        "path": storable(str(capture.path)),
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
    refused = []
    for found in walk.refused:
        row = known.get(found.key)
        if row is None or (
            not row.in_hand and (row.state, row.error) != (State.REFUSED, found.reason)
        ):
            # Without a size, so that the file counts as changed as soon as the reason is gone.
            values = seen(Capture(found.key, found.path.parent, NO_FILE, 0), now)
            refused.append(
                values
                | {"path": storable(str(found.path)), "state": State.REFUSED, "error": found.reason}
            )
    return refused


def _write(db: sa.Connection, news: Sequence[Values], known: Known) -> None:
    if new := [values for values in news if values["key"] not in known]:
        db.execute(sa.insert(TABLE), new)
    if changed := [values | {"of": values["key"]} for values in news if values["key"] in known]:
        db.execute(sa.update(TABLE).where(OF_KEY), changed)


def _let_go(db: sa.Connection, known: Known, gone: set[str], now: float) -> None:
    """Settle the records of files that are no more: what nothing is stored of goes, what rows are stored of is done as it was."""
    rows = [known[key] for key in gone if not known[key].in_hand]
    undecided = [row for row in rows if row.state in (State.WAITING, State.REFUSED)]
    if never_loaded := [{"of": row.key} for row in undecided if row.packets is None]:
        db.execute(sa.delete(TABLE).where(OF_KEY), never_loaded)
    back = [
        {"of": row.key, "state": State.DONE, "error": None}
        for row in undecided
        if row.packets is not None
    ]
    # If the file of a failed one comes back, it is tried again: it may have failed because it was away.
    back += [
        {"of": row.key, "state": State.FAILED, "error": row.error}
        for row in rows
        if row.state == State.FAILED and row.size != NO_FILE
    ]
    if back:
        db.execute(sa.update(TABLE).where(OF_KEY).values(size=NO_FILE, changed_at=now), back)
