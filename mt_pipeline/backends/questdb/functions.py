"""SQL functions that QuestDB is to be without: who may only read could list every folder of the machine with them, and no setting switches them off.

QuestDB takes each class of its jar that says it is a maker of functions. A copy of such a class that does not say so lies in a folder, and Java is
told to take it instead (`--patch-module`): the class stays, as others use its code.
"""

import struct
import zipfile
from pathlib import Path

MODULE = "io.questdb"
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
"""Bytes of the entries of a class file's constant pool by their kind, but for text, which says its own."""
_TEXT, _OF_TWO_PLACES = 1, (5, 6)
_POOL = 8  # where the number of its entries stands


def without(jar: Path, folder: Path) -> list[str]:
    """Write the changed classes into a folder and return what Java is to be told.

    Args:
        jar: QuestDB's, as released.
        folder: an empty one, or one that is to be made.

    Raises:
        KeyError: the jar lacks one of the classes: it is of another version.
        OSError: the folder cannot be written.
    """
    with zipfile.ZipFile(jar) as released:
        for name in _CLASSES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(_without_interfaces(released.read(name)))
    return [f"--patch-module={MODULE}={folder}"]


def _without_interfaces(code: bytes) -> bytes:
    """Take out of a class file which interfaces the class has."""
    (entries,) = struct.unpack_from(">H", code, _POOL)
    place, entry = _POOL + 2, 1
    while entry < entries:
        kind = code[place]
        length = (
            2 + struct.unpack_from(">H", code, place + 1)[0] if kind == _TEXT else _LENGTHS[kind]
        )
        place, entry = place + 1 + length, entry + (2 if kind in _OF_TWO_PLACES else 1)
    place += 6  # its flags, itself and its parent
    (interfaces,) = struct.unpack_from(">H", code, place)
    return code[:place] + b"\0\0" + code[place + 2 + 2 * interfaces :]
