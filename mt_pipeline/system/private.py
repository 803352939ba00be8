"""What the pipeline writes is for the account that runs it: captures tell much of people. Here is how; each program says it at its start."""

import os
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

OTHERS = 0o077
"""What the group and all others may do with a file."""

_TEMPORARY = "tmp"
_LONGEST = 90
"""Bytes of a folder in which a socket still has a name that the system takes, 107 bytes in all."""

_ABANDONED = 7 * 24 * 3600.0


def files() -> None:
    """Let nobody else read what this process makes from now on, and what its children make."""
    os.umask(OTHERS)


def folder(path: Path) -> None:
    """Make a folder, or shut one that is there to others; what lies in it stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if mode & OTHERS:
        with suppress(PermissionError):  # a volume of somebody else's, whose business that is
            path.chmod(mode & 0o7700)


def temporary(data: Path) -> dict[str, str]:
    """Make a folder for temporary files in the data folder, and return the variable that leads programs to it.

    None does if its name is too long for sockets.
    """
    path = data / _TEMPORARY
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"TMPDIR": str(path)} if len(os.fsencode(path)) <= _LONGEST else {}


def tidy(data: Path) -> None:
    """Delete temporary files that were left a week ago. A service that is still up may need older ones: no other must be."""
    for left in (data / _TEMPORARY).glob("*"):
        with suppress(OSError):
            if left.lstat().st_mtime < time.time() - _ABANDONED:
                rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
