"""Files that a setting names: they may be anything, such as a device that never ends."""

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST_TEXT = 64 * 2**20
"""Bytes; such texts are written by hand, or have a few megabytes."""


def check_is_file(path: Path) -> None:
    """Refuse what is no file: opening a pipe waits for ever, and reading a device may.

    Raises:
        OSError: with the reason.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a file but a pipe, a device or a folder")


def read_text(path: Path, *, largest: int = LARGEST_TEXT) -> str:
    """Read a text in UTF-8.

    Args:
        path: the file.
        largest: its most bytes.

    Raises:
        OSError: it is no file, is larger, or cannot be read.
        UnicodeDecodeError: it is no text.
    """
    with open_bytes(path) as file:
        content = file.read(largest + 1)  # the size of a file of the system is told as 0
    if len(content) > largest:
        raise OSError(f"it has more than {largest / 2**20:,.0f} MiB")
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Return the reason of an error of `read_text`, and the cure."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text; save it as UTF-8"
    return f"it cannot be read ({error.strerror or error}); name another file"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file.

    Raises:
        OSError: it is no file, or cannot be opened.
    """
    check_is_file(path)
    return open(path, "rb", opener=_without_waiting)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
