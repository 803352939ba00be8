"""Privacy of what the pipeline writes: only the account that runs it can read its files.

Captures reveal much about people. Each program calls `files` when it starts.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

OTHERS = 0o077
"""Permissions of the group and of all others."""

_LONGEST = 74
"""Longest path of a folder for sockets, in bytes.

The system limits the path of a socket to 107, of which Python's own names below it take 32."""

_ABANDONED = 7 * 24 * 3600.0


def files() -> None:
    """Deny others access to all files that this process and its children create from now on."""
    os.umask(OTHERS)


def folder(path: Path) -> None:
    """Create a folder, or deny others access to an existing one; its content stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if mode & OTHERS:
        with suppress(PermissionError):  # a volume that belongs to somebody else
            path.chmod(mode & 0o7700)


def temporary(path: Path) -> dict[str, str]:
    """Create a folder for temporary files.

    Returns:
        The environment variable that makes programs use it; nothing if its path is too long for
        sockets.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"TMPDIR": str(path)} if len(os.fsencode(path)) <= _LONGEST else {}


def tidy(folder: Path) -> None:
    """Delete temporary files of a folder that are older than a week.

    A running service may still need its older files, so call this only when none runs.
    """
    for path in folder.glob("*"):
        with suppress(OSError):
            if path.lstat().st_mtime < time.time() - _ABANDONED:
                rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
