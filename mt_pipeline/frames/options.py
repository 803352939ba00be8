"""Options of pcapng blocks: read in either byte order, written little-endian."""

import struct
from collections.abc import Iterator, Mapping

END = 0
COMMENT = 1
_CUSTOM = (2988, 2989, 19372, 19373)
"""Options of others, which begin with a number that says whose they are."""
_LONGEST = 0xFFFF

INTERFACE_NUMBERS = {8: "Q", 10: "I", 14: "q", 16: "Q", 17: "Q"}
"""Options of an interface that are one number, with its form; all others are bytes."""
FRAME_NUMBERS = {2: "I", 4: "Q", 5: "Q", 6: "I"}
"""Such options of a frame."""


def read(data: bytes, order: str, numbers: Mapping[int, str]) -> Iterator[tuple[int, bytes]]:
    """Yield each option: its code, and its value in little-endian.

    Args:
        data: the end of a block's body.
        order: of the block: `<` or `>`.
        numbers: options that are one number.
    """
    place = 0
    while place + 4 <= len(data):
        code, length = struct.unpack_from(f"{order}HH", data, place)
        value = data[place + 4 : place + 4 + length]
        if code == END or len(value) < length:
            return
        yield code, value if order == "<" else _turned(code, value, numbers)
        place += 4 + length + -length % 4


def write(code: int, value: bytes) -> bytes:
    """Return an option; a value that is too long is cut."""
    value = value[:_LONGEST]
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def text(code: int, value: str) -> bytes:
    """Return an option with a text; one that is too long is cut between two letters."""
    data = value.encode("utf-8", "replace")[:_LONGEST]
    return write(code, data.decode("utf-8", "ignore").encode())


def _turned(code: int, value: bytes, numbers: Mapping[int, str]) -> bytes:
    form = "I" if code in _CUSTOM else numbers.get(code)
    if form is None or len(value) < struct.calcsize(f"<{form}"):
        return value
    size = struct.calcsize(f"<{form}")
    return value[:size][::-1] + value[size:]
