"""Reads pcapng files: any number of sections and interfaces, both byte orders."""

import struct
from collections.abc import Iterator

from mt_pipeline.frames import options
from mt_pipeline.frames.models import (
    Frame,
    Interface,
    NotAPacket,
    Secrets,
    Unreadable,
)
from mt_pipeline.frames.window import LARGEST, Window

SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED, SECRETS = 0x0A0D0D0A, 1, 2, 3, 6, 10
_JOURNAL, _CUSTOM, _CALLS = 9, (0xBAD, 0x40000BAD), (0x204, 0x208, 0x216, 0x217, 0x221, 0x222)
_OTHER_FRAMES = {_JOURNAL, *_CUSTOM, *_CALLS}
"""Entries of a journal, blocks of other makers, calls of a system: tshark counts them as frames.

It counts no block of any other type; names of addresses and statistics are left out, too.
"""
_MAGIC = 0x1A2B3C4D
_MOST_INTERFACES = 65_536
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14


def begins(head: bytes) -> bool:
    """Return whether a file begins as a pcapng file."""
    return head[:4] == SECTION.to_bytes(4, "little")


def read(window: Window, wanted: Iterator[int]) -> Iterator[Frame | Secrets]:
    """Yield the frames of these numbers, which ascend, and all secrets.

    A file that is cut inside a block ends before it.

    Raises:
        NotAPacket: a frame that is wanted is no packet.
        Unreadable: the file is damaged.
    """
    return _Reading(window, wanted).items()


class _Reading:
    """One pass through a file; what a section defines ends with it."""

    def __init__(self, window: Window, wanted: Iterator[int]) -> None:
        self._window, self._wanted = window, wanted
        self._order = "<"
        self._interfaces: list[Interface] = []
        self._number, self._target = 0, next(wanted, None)

    def items(self) -> Iterator[Frame | Secrets]:
        window = self._window
        while window.has(12):
            kind, length = self._head()
            if not window.has(length):
                return
            begin, end = window.at + 8, window.at + length - 4
            if kind in (ENHANCED, SIMPLE, PACKET):
                self._number += 1
                if self._number == self._target:
                    yield self._frame(kind, window.data[begin:end])
                    self._target = next(self._wanted, None)
            elif kind == SECRETS:
                yield self._secrets(window.data[begin:end])
            else:
                self._other(kind, window.data[begin:end])
            window.at += length

    def _head(self) -> tuple[int, int]:
        """Return the type and the length of the next block; the first of a section has its order.

        Raises:
            Unreadable: the length cannot be.
        """
        data, at = self._window.data, self._window.at
        if data[at : at + 4] == SECTION.to_bytes(4, "little"):
            magic = data[at + 8 : at + 12]
            self._order = "<" if int.from_bytes(magic, "little") == _MAGIC else ">"
            if struct.unpack(f"{self._order}I", magic) != (_MAGIC,):
                raise Unreadable(f"a section after frame {self._number} has no byte order")
        kind, length = struct.unpack_from(f"{self._order}II", data, at)
        length += -length % 4  # some programs leave the padding out
        if not 12 <= length <= LARGEST:
            raise Unreadable(f"a block after frame {self._number} claims to have {length:,} bytes")
        return kind, length

    def _other(self, kind: int, body: bytes) -> None:
        if kind == SECTION:
            self._interfaces = []
        elif kind == INTERFACE:
            if len(self._interfaces) == _MOST_INTERFACES:
                raise Unreadable(f"a section has more than {_MOST_INTERFACES:,} interfaces")
            self._interfaces.append(self._interface(body))
        elif kind in _OTHER_FRAMES:
            self._number += 1
            if self._number == self._target:
                raise NotAPacket(f"frame {self._number} is no packet, but a block of type {kind}")

    def _interface(self, body: bytes) -> Interface:
        link_type, _, snaplen = self._unpack("HHI", body)
        name, resolution, offset, others = "", 6, 0, bytearray()
        for code, value in options.read(body[8:], self._order, options.INTERFACE_NUMBERS):
            if code == _NAME:
                name = value.decode("utf-8", "replace")
            elif code == _RESOLUTION and value:
                resolution = value[0]
            elif code == _OFFSET and len(value) == 8:
                offset = int.from_bytes(value, "little", signed=True)
            else:
                others += options.write(code, value)
        return Interface(link_type, snaplen, resolution, offset, name, bytes(others))

    def _frame(self, kind: int, body: bytes) -> Frame:
        if kind == SIMPLE:  # it has no time, and is of the first interface
            (wire,) = self._unpack("I", body)
            interface = self._interface_of(0)
            captured = min(wire, interface.snaplen or wire, len(body) - 4)
            return Frame(self._number, interface, 0, wire, body[4 : 4 + captured])
        form = "IIIII" if kind == ENHANCED else "HHIIII"
        which, *_, high, low, captured, wire = self._unpack(form, body)
        data = body[20 : 20 + captured]
        if len(data) < captured:
            raise Unreadable(f"frame {self._number} is larger than its block")
        rest = body[20 + captured + -captured % 4 :]
        others = b"".join(
            options.write(code, value)
            for code, value in options.read(rest, self._order, options.FRAME_NUMBERS)
        )
        ticks = high << 32 | low
        return Frame(self._number, self._interface_of(which), ticks, wire, data, others)

    def _secrets(self, body: bytes) -> Secrets:
        kind, length = self._unpack("II", body)
        return Secrets(kind, body[8 : 8 + length])

    def _interface_of(self, index: int) -> Interface:
        if index >= len(self._interfaces):
            raise Unreadable(f"frame {self._number} is of an interface that is not described")
        return self._interfaces[index]

    def _unpack(self, form: str, body: bytes) -> tuple[int, ...]:
        try:
            return struct.unpack_from(f"{self._order}{form}", body)
        except struct.error:
            raise Unreadable(f"a block after frame {self._number} is too short") from None
