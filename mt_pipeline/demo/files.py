"""Puts the captures of the demo into an inbox: the same bytes each time. It loads none."""

import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mt_pipeline.demo import household
from mt_pipeline.demo.conversations import SECOND, Packet
from mt_pipeline.errors import CommandError
from mt_pipeline.system.atomic import whole

EXPERIMENTS: dict[str, Callable[[], Sequence[Packet]]] = {
    "demo_before": household.before,
    "demo_after": household.after,
}
"""The experiments, each with what makes its packets."""

_FILE = "household.pcap"
_PCAP, _SNAPLEN, _ETHERNET = 0xA1B2C3D4, 262_144, 1


class InTheWayError(CommandError):
    """A file of the user has the name of a capture of the demo."""


def write(inbox: Path) -> list[Path]:
    """Write the captures that are not there yet, and return the folders of all.

    Args:
        inbox: the watched folder.

    Raises:
        InTheWayError: a file of that name has other bytes. It stays as it is.
        OSError: a file cannot be written.
    """
    captures = {inbox / name / _FILE: _pcap(make()) for name, make in EXPERIMENTS.items()}
    missing = [path for path, data in captures.items() if not _is_there(path, data)]
    for path in missing:
        with whole(path, new=True) as partial:
            partial.write_bytes(captures[path])
    return [path.parent for path in captures]


def _is_there(path: Path, data: bytes) -> bool:
    if not path.exists():
        return False
    if path.stat().st_size == len(data) and path.read_bytes() == data:
        return True
    raise InTheWayError(
        f"{path} is there and is not the demo's: move it away, or give its experiment another name"
    )


def _pcap(packets: Iterable[Packet]) -> bytes:
    """Return a pcap file, times in microseconds."""
    parts = [struct.pack("<IHHiIII", _PCAP, 2, 4, 0, 0, _SNAPLEN, _ETHERNET)]
    for time, frame in packets:
        parts.append(struct.pack("<IIII", *divmod(time, SECOND), len(frame), len(frame)))
        parts.append(frame)
    return b"".join(parts)
