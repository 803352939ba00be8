"""Removes SQL functions from QuestDB that let a reader list every folder of the machine.

No setting disables them. QuestDB registers each class of its jar that implements the interface of a
function factory. We write a copy of the jar in which two such classes do not name the interface.
The classes stay, because other classes use their code.
"""

import struct
import zipfile
from pathlib import Path

FUNCTIONS = ("files", "glob")
_CLASSES = tuple(
    f"io/questdb/griffin/engine/functions/catalogue/{name}.class"
    for name in ("FilesFunctionFactory", "GlobFilesFunctionFactory")
)
_LENGTHS = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    7: 2,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}
"""Bytes of an entry of a class file's constant pool by its kind. Text has its own length."""
_TEXT, _OF_TWO_SLOTS = 1, (5, 6)
_POOL = 8  # offset of the number of entries


def remove(jar: Path, output: Path) -> None:
    """Write a copy of the jar without the functions.

    Args:
        jar: QuestDB's, as released.
        output: the copy.

    Raises:
        KeyError: the jar lacks one of the classes, so it is of another version.
        OSError: the copy cannot be written.
    """
    with (
        zipfile.ZipFile(jar) as released,
        zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy,
    ):
        for name in _CLASSES:
            copy.writestr(name, _without_interfaces(released.read(name)))
        for entry in released.infolist():
            if entry.filename not in _CLASSES:
                copy.writestr(entry, released.read(entry))


def _without_interfaces(code: bytes) -> bytes:
    """Return a class file without the list of the interfaces that the class implements."""
    (entries,) = struct.unpack_from(">H", code, _POOL)
    offset, entry = _POOL + 2, 1
    while entry < entries:
        kind = code[offset]
        length = (
            2 + struct.unpack_from(">H", code, offset + 1)[0] if kind == _TEXT else _LENGTHS[kind]
        )
        offset, entry = offset + 1 + length, entry + (2 if kind in _OF_TWO_SLOTS else 1)
    offset += 6  # access flags, this class, super class
    (interfaces,) = struct.unpack_from(">H", code, offset)
    return code[:offset] + b"\0\0" + code[offset + 2 + 2 * interfaces :]
