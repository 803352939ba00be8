"""Which captures are files of one rotation, and which of them comes before which. Their names alone say it.

- `dumpcap -b`, so tshark and Wireshark too: `lab_00001_20260101120000.pcapng`, or time before number. After 99999 comes 00000. A later start with
  the same name begins at 00001 again, with a later time.
- `tcpdump -C`: `lab.pcap`, `lab.pcap1`, …; with `-W` from `lab.pcap0` or `lab.pcap00` on. The file with which it begins anew is after no other.

What is done with that, `settling.py` says of files, and `defs/rotations.py` of what is in them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mt_pipeline.captures.identity import Capture

_FILES_OF_DUMPCAP = 100_000
_PACKED = r"(?:\.(?:gz|zst|lz4))?"
_DUMPCAP = (
    re.compile(rf"(?P<name>.+)_(?P<number>\d{{5}})_(?P<time>\d{{14}})(?P<ending>(?:\.[^/.]+)?){_PACKED}"),
    re.compile(rf"(?P<name>.+)_(?P<time>\d{{14}})_(?P<number>\d{{5}})(?P<ending>(?:\.[^/.]+)?){_PACKED}"),
)
_TCPDUMP = re.compile(rf"(?P<name>.+\.(?:pcap|cap|dmp))(?P<number>\d*){_PACKED}")


@dataclass(frozen=True)
class Place:
    """The place of a file in a rotation.

    Attributes:
        begins: text with which the keys of all files of the rotation begin.
        ends: text with which they end.
        number: which file it is.
        time: when it was begun, as its name says: later is larger. Empty if it does not say.
    """

    begins: str
    ends: str
    number: int
    time: str

    @property
    def before(self) -> int:
        """Number of the file before it; of the first there is none."""
        return (self.number - 1) % _FILES_OF_DUMPCAP if self.time else self.number - 1


def place_of(key: str) -> Place | None:
    """Read the place of a capture off its key; None if its name is not one of a rotation."""
    for pattern in _DUMPCAP:
        if match := pattern.fullmatch(key):
            return Place(f"{match['name']}_", match["ending"], int(match["number"]), match["time"])
    if match := _TCPDUMP.fullmatch(key):
        return Place(match["name"], "", int(match["number"] or 0), "")
    return None


def befores(keys: Iterable[str]) -> dict[str, str]:
    """Find the file before each, where it is among the keys; of several starts with one name, that of the last. In the order of the rotations."""
    places = {key: place for key in keys if (place := place_of(key))}
    numbered = defaultdict(list)
    for key, place in places.items():
        numbered[place.begins, place.ends, place.number].append((place.time, key))
    found = {}
    for key, place in sorted(places.items(), key=lambda item: (item[1].begins, item[1].ends, item[1].time, item[1].number)):
        if earlier := [one for one in numbered[place.begins, place.ends, place.before] if one[0] <= place.time]:
            found[key] = max(earlier)[1]
    return found


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
            found.update(one.key for one, its in before if its.time <= place.time and one.mtime_ns <= later.mtime_ns)
    return found
