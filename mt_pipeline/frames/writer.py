"""Writes pcapng: one section, little-endian, with interfaces and secrets before the frames."""

import struct
from typing import IO

from mt_pipeline.frames import options
from mt_pipeline.frames.models import Frame, Interface, Secrets
from mt_pipeline.frames.pcapng import ENHANCED, INTERFACE, SECRETS, SECTION

_MAGIC = 0x1A2B3C4D
_APPLICATION = 4
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14
_UNKNOWN_LENGTH = -1
_END = bytes(4)


def section(file: IO[bytes], *, application: str, comment: str) -> None:
    """Write the beginning of the file: what made it, and from what."""
    said = options.text(options.COMMENT, comment) + options.text(_APPLICATION, application)
    head = struct.pack("<IHHq", _MAGIC, 1, 0, _UNKNOWN_LENGTH)
    file.write(_block(SECTION, head + said + _END))


def interface(file: IO[bytes], described: Interface, *, name: str) -> None:
    """Write an interface under a name; frames name it by its place among all."""
    body = struct.pack("<HHI", described.link_type, 0, described.snaplen)
    body += options.text(_NAME, name) + options.write(_RESOLUTION, bytes([described.resolution]))
    if described.offset:
        body += options.write(_OFFSET, struct.pack("<q", described.offset))
    file.write(_block(INTERFACE, body + described.options + _END))


def secrets(file: IO[bytes], keys: Secrets) -> None:
    """Write secrets, for the frames after them."""
    padding = bytes(-len(keys.data) % 4)
    file.write(_block(SECRETS, struct.pack("<II", keys.kind, len(keys.data)) + keys.data + padding))


def block_of(frame: Frame, *, interface: int, comment: str) -> bytes:
    """Return the block of a frame, with one more comment."""
    head = struct.pack(
        "<IIIII",
        interface,
        frame.ticks >> 32,
        frame.ticks & 0xFFFFFFFF,
        len(frame.data),
        frame.wire_length,
    )
    said = options.text(options.COMMENT, comment)
    body = head + frame.data + bytes(-len(frame.data) % 4) + said + frame.options + _END
    return _block(ENHANCED, body)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length
