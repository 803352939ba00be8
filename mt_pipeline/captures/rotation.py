"""Which captures are files of one rotation, and their order. Their names alone decide.

- `dumpcap -b`, and so tshark and Wireshark: `lab_00001_20260101120000.pcapng`, or with the time
  before the number. After 99999 comes 00000. A later start with the same name begins at 00001
  again, with a later time. The time is local: where clocks are set back for the winter, a file may
  be named after an earlier time than the file before it. Of several files with the previous number,
  the one with the shortest time in between is the previous file.
- `tcpdump -C`: `lab.pcap`, `lab.pcap1`, …; with `-W` it starts at `lab.pcap0` or `lab.pcap00`. The
  file at which `-W` starts over has no previous file.

`scan.py` uses this for files, `pipeline/rotation.py` for what is in them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.records import State

_FILES_OF_DUMPCAP = 100_000
_AFTER_ALL = "\U0010ffff"
_SET_BACK = timedelta(hours=1)
"""By how much clocks are set back for the winter, at most."""

_PACKED = r"(?:\.(?:gz|zst|lz4))?"
_DUMPCAP = (
    re.compile(
        rf"(?P<name>.+)_(?P<number>\d{{5}})_(?P<time>\d{{14}})(?P<ending>(?:\.[^/.]+)?){_PACKED}"
    ),
    re.compile(
        rf"(?P<name>.+)_(?P<time>\d{{14}})_(?P<number>\d{{5}})(?P<ending>(?:\.[^/.]+)?){_PACKED}"
    ),
)
_TCPDUMP = re.compile(rf"(?P<name>.+\.(?:pcap|cap|dmp))(?P<number>\d*){_PACKED}")


@dataclass(frozen=True)
class Handover:
    """What a capture took up from the previous file of its rotation, and leaves to the next.

    Attributes:
        follows: name of what it took up; empty for nothing.
        leaves: name of what it leaves, a hash of its content; empty for nothing.
    """

    follows: str = ""
    leaves: str = ""


@dataclass(frozen=True)
class Place:
    """The place of a file in a rotation.

    Attributes:
        begins: text with which the keys of all files of the rotation begin.
        ends: text with which they end.
        number: of the file.
        time: when the file was started according to its name, in local time; None without one.
    """

    begins: str
    ends: str
    number: int
    time: datetime | None

    @property
    def previous_number(self) -> int:
        """Number of the previous file; no file has that of the first."""
        return (self.number - 1) % _FILES_OF_DUMPCAP if self.time else self.number - 1

    def until(self, other: "Place") -> timedelta | None:
        """Return the time from this file to the other; None if the other was started earlier.

        It is zero if the names have no times.
        """
        if self.time is None or other.time is None:
            return timedelta()
        between = other.time - self.time
        if between < timedelta():
            between += _SET_BACK
        return between if between >= timedelta() else None


def place_of(key: str) -> Place | None:
    """Parse the place of a capture from its key; None if its name is not that of a rotation."""
    for pattern in _DUMPCAP:
        if match := pattern.fullmatch(key):
            with suppress(ValueError):  # 14 digits that are no time
                time = datetime.fromisoformat(f"{match['time'][:8]}T{match['time'][8:]}")
                return Place(f"{match['name']}_", match["ending"], int(match["number"]), time)
    if match := _TCPDUMP.fullmatch(key):
        return Place(match["name"], "", int(match["number"] or 0), None)
    return None


def previous_files(keys: Iterable[str]) -> dict[str, str]:
    """Return the previous file of each file that has one among the keys.

    They are in the order of their rotations. Of several starts with one name, the last counts.
    """
    places = {key: place for key in keys if (place := place_of(key))}
    numbered = defaultdict(list)
    for key, place in places.items():
        numbered[place.begins, place.ends, place.number].append((key, place))
    previous = {}
    for key, place in sorted(places.items(), key=lambda item: _sort_key(item[1])):
        earlier = [
            (-since, candidate)
            for candidate, its_place in numbered[place.begins, place.ends, place.previous_number]
            if (since := its_place.until(place)) is not None
        ]
        if earlier:
            previous[key] = max(earlier)[1]
    return _in_order(previous)


def complete(waiting: Iterable[Capture], captures: Iterable[Capture]) -> set[str]:
    """Return the keys of waiting files that are finished.

    The next file of their rotation was started, and they have not changed since.

    Args:
        waiting: the files to be judged.
        captures: all files.
    """
    numbered = defaultdict(list)
    for capture in waiting:
        if place := place_of(capture.key):
            numbered[place.begins, place.ends, place.number].append((capture, place))
    finished: set[str] = set()
    for later in captures if numbered else ():
        if place := place_of(later.key):
            previous = numbered.get((place.begins, place.ends, place.previous_number), ())
            finished.update(
                capture.key
                for capture, its_place in previous
                if its_place.until(place) is not None and capture.mtime_ns <= later.mtime_ns
            )
    return finished


def previous_key(db: sa.Connection, key: str) -> str | None:
    """Return the key of the previous file; see `Ledger.previous`."""
    if (place := place_of(key)) is None:
        return None
    keys = db.scalars(sa.select(TABLE.c.key).where(_in_rotation(place)))
    return previous_files({key, *keys}).get(key)


def behind(db: sa.Connection, rotations: Iterable[str] | None = None) -> dict[str, str]:
    """Return the captures that do not match their previous file; see `Ledger.behind`.

    A capture whose packets have expired cannot be made anew and is left out.
    """
    columns = (TABLE.c.key, TABLE.c.state, TABLE.c.follows, TABLE.c.leaves)
    query = sa.select(*columns, TABLE.c.packets_expired_at)
    if rotations is not None:
        places = {place.begins: place for key in rotations if (place := place_of(key))}
        query = query.where(sa.or_(sa.false(), *map(_in_rotation, places.values())))
    rows = db.execute(query).all()
    leaves = {row.key: row.leaves for row in rows if row.state == State.DONE}
    follows = {
        row.key: row.follows
        for row in rows
        if row.state == State.DONE and row.packets_expired_at is None
    }
    return {
        key: previous
        for key, previous in previous_files(row.key for row in rows).items()
        if key in follows and previous in leaves and follows[key] != leaves[previous]
    }


def _in_rotation(place: Place) -> sa.ColumnElement[bool]:
    """Return the condition on the key of a file of a rotation, or of one with a similar name.

    After what all their names begin with come digits, or what all end with. It is a range, so that
    an index finds it.
    """
    begins = place.begins
    return sa.and_(TABLE.c.key >= begins, TABLE.c.key < begins + _AFTER_ALL)


def _sort_key(place: Place) -> tuple[str, str, datetime, int]:
    return place.begins, place.ends, place.time or datetime.min, place.number


def _in_order(previous: dict[str, str]) -> dict[str, str]:
    """Sort each file after its previous one, which the times in their names need not do."""
    following = defaultdict(list)
    for key, its_previous in previous.items():
        following[its_previous].append(key)
    ordered: dict[str, str] = {}
    for first in [key for key, its_previous in previous.items() if its_previous not in previous]:
        pending = [first]
        while pending:
            key = pending.pop()
            ordered[key] = previous[key]
            pending += reversed(following[key])
    return ordered | previous  # a ring of all 100,000 numbers has no first file
