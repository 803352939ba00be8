"""Reads plain pcap files: both byte orders, microseconds and nanoseconds."""

import struct
from collections.abc import Iterator

from mt_pipeline.frames.models import Frame, Interface, Unreadable
from mt_pipeline.frames.window import LARGEST, Window

_UNITS = {0xA1B2C3D4: 6, 0xA1B23C4D: 9}
"""The power of ten of a tick, by the first four bytes. Variants have others: editcap reads them."""

_HEADER = 24
_RECORD = 16
_VERSION = (2, 4)
"""Earlier versions may have the two lengths of a record in the other order."""
_FCS_OPTION = 13


def begins(head: bytes) -> bool:
    """Return whether a file begins as a pcap file that is read here."""
    order = _order(head)
    if order is None or len(head) < _HEADER:
        return False
    return struct.unpack_from(f"{order}HH", head, 4) == _VERSION


def read(window: Window, wanted: Iterator[int]) -> Iterator[Frame]:
    """Yield the frames of these numbers, which ascend; read no further than the last.

    A file that is cut inside a record ends before it.

    Raises:
        Unreadable: the file is damaged.
    """
    order, interface = _header(window)
    per_second = 10**interface.resolution
    unpack = struct.Struct(f"{order}IIII").unpack_from
    number, target = 0, next(wanted, None)
    while target is not None and window.has(_RECORD):
        seconds, fraction, captured, length = unpack(window.data, window.at)
        if captured > LARGEST:
            raise Unreadable(f"frame {number + 1} claims to have {captured:,} bytes")
        if not window.has(_RECORD + captured):
            return
        number += 1
        begin = window.at + _RECORD
        window.at = begin + captured
        if number == target:
            data = window.data[begin : window.at]
            yield Frame(number, interface, seconds * per_second + fraction, length, data)
            target = next(wanted, None)


def _header(window: Window) -> tuple[str, Interface]:
    if not window.has(_HEADER):
        raise Unreadable("it ends within its header")
    data = window.data
    order = _order(data) or "<"
    magic, *_, snaplen, link = struct.unpack_from(f"{order}IHHiIII", data)
    window.at = _HEADER
    # The upper bits say whether frames end with a check sequence, and how long that is.
    has_fcs, fcs_length = link >> 26 & 1, link >> 28
    fcs = struct.pack("<HHB3x", _FCS_OPTION, 1, fcs_length * 16) if has_fcs else b""
    return order, Interface(link & 0xFFFF, snaplen, _UNITS[magic], options=fcs)


def _order(head: bytes) -> str | None:
    for order in "<>":
        if len(head) >= 4 and struct.unpack_from(f"{order}I", head)[0] in _UNITS:
            return order
    return None
