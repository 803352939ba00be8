"""Which captures are files of one rotation, and which of them comes before which. Their names alone say it.

- `dumpcap -b`, so tshark and Wireshark too: `lab_00001_20260101120000.pcapng`, or time before number. After 99999 comes 00000. A later start with
  the same name begins at 00001 again, with a later time. It is local time, so where clocks are set back for the winter a file may be named after an
  earlier time than the one before it: of files with the number before, that with the shortest time between them is meant.
- `tcpdump -C`: `lab.pcap`, `lab.pcap1`, …; with `-W` from `lab.pcap0` or `lab.pcap00` on. The file with which it begins anew is after no other.

What follows from that, `scan.py` says of files, and `pipeline/rotation.py` of what is in them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.records import TABLE, State

_FILES_OF_DUMPCAP = 100_000
_SET_BACK = timedelta(hours=1)
"""By which clocks are set back for the winter, at most."""

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
    """What a capture took up from the file before it in its rotation, and what it leaves to the next.

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
        number: which file it is.
        time: when it was begun, as its name says, in local time; None if it does not say.
    """

    begins: str
    ends: str
    number: int
    time: datetime | None

    @property
    def before(self) -> int:
        """Number of the file before it; of the first there is none."""
        return (self.number - 1) % _FILES_OF_DUMPCAP if self.time else self.number - 1

    def until(self, other: "Place") -> timedelta | None:
        """Say after what time the other file was begun, no time if the names do not tell; None if it was begun before this one."""
        if self.time is None or other.time is None:
            return timedelta()
        between = other.time - self.time
        if between < timedelta():
            between += _SET_BACK
        return between if between >= timedelta() else None


def place_of(key: str) -> Place | None:
    """Read the place of a capture off its key; None if its name is not one of a rotation."""
    for pattern in _DUMPCAP:
        if match := pattern.fullmatch(key):
            with suppress(ValueError):  # 14 digits that are no time
                time = datetime.fromisoformat(f"{match['time'][:8]}T{match['time'][8:]}")
                return Place(f"{match['name']}_", match["ending"], int(match["number"]), time)
    if match := _TCPDUMP.fullmatch(key):
        return Place(match["name"], "", int(match["number"] or 0), None)
    return None


def befores(keys: Iterable[str]) -> dict[str, str]:
    """Find the file before each, where it is among the keys; of several starts with one name, that of the last. In the order of the rotations."""
    places = {key: place for key in keys if (place := place_of(key))}
    numbered = defaultdict(list)
    for key, place in places.items():
        numbered[place.begins, place.ends, place.number].append((key, place))
    found = {}
    for key, place in sorted(
        places.items(),
        key=lambda item: (
            item[1].begins,
            item[1].ends,
            item[1].time or datetime.min,
            item[1].number,
        ),
    ):
        earlier = [
            (-since, one)
            for one, its in numbered[place.begins, place.ends, place.before]
            if (since := its.until(place)) is not None
        ]
        if earlier:
            found[key] = max(earlier)[1]
    return _in_order(found)


def _in_order(found: dict[str, str]) -> dict[str, str]:
    """Put each file behind the one before it: the times in their names need not have that order."""
    after = defaultdict(list)
    for key, one in found.items():
        after[one].append(key)
    ordered: dict[str, str] = {}
    for first in [key for key, one in found.items() if one not in found]:
        left = [first]
        while left:
            key = left.pop()
            ordered[key] = found[key]
            left += reversed(after[key])
    return ordered | found  # of a ring of all 100,000 numbers none is the first


def complete(waiting: Iterable[Capture], there: Iterable[Capture]) -> set[str]:
    """Find the keys of files that are written no more: the next one of their rotation was begun, and they have not changed since.

    Args:
        waiting: files of which one wants to know.
        there: all files.
    """
    asked = defaultdict(list)
    for capture in waiting:
        if place := place_of(capture.key):
            asked[place.begins, place.ends, place.number].append((capture, place))
    found: set[str] = set()
    for later in there if asked else ():
        if place := place_of(later.key):
            before = asked.get((place.begins, place.ends, place.before), ())
            found.update(
                one.key
                for one, its in before
                if its.until(place) is not None and one.mtime_ns <= later.mtime_ns
            )
    return found


def key_before(db: sa.Connection, key: str) -> str | None:
    """Find the key of the file before this one; see `Ledger.before`."""
    if (place := place_of(key)) is None:
        return None
    keys = db.scalars(
        sa.select(TABLE.c.key).where(TABLE.c.key.startswith(place.begins, autoescape=True))
    )
    return befores({key, *keys}).get(key)


def behind(db: sa.Connection) -> dict[str, str]:
    """Find what is behind the file before it, unless its packets have expired; see `Ledger.behind`."""
    rows = db.execute(
        sa.select(
            TABLE.c.key, TABLE.c.state, TABLE.c.follows, TABLE.c.leaves, TABLE.c.packets_expired_at
        )
    ).all()
    leaves = {row.key: row.leaves for row in rows if row.state == State.DONE}
    follows = {
        row.key: row.follows
        for row in rows
        if row.state == State.DONE and row.packets_expired_at is None
    }
    found = befores(row.key for row in rows)
    return {
        key: one
        for key, one in found.items()
        if key in follows and one in leaves and follows[key] != leaves[one]
    }
