"""Errors that end a command, and the meaning and cure of errors of the operating system."""

import errno
import os
from pathlib import Path

_MEANINGS = {
    errno.EDQUOT: "the quota of this user is used up: delete something, or have it raised",
    errno.EMFILE: (
        "this process has as many files open as it may: raise the limit with `ulimit -n 65536`"
    ),
    errno.ENFILE: (
        "this machine has as many files open as it may: "
        "stop what opens so many, or raise fs.file-max"
    ),
    errno.ENOMEM: "the machine has no memory left: stop what takes it",
    errno.EROFS: "its disk is mounted read-only: mount it to be written, or take another",
    errno.EIO: "its disk cannot be read or written: look at `dmesg`, and replace the disk",
    errno.ENAMETOOLONG: "its path is too long: shorten it",
    errno.EACCES: "this user may not: change the owner or the mode",
    errno.EPERM: "this user may not: change the owner or the mode",
    errno.ESTALE: "the server of its disk does not know it any more: mount it again",
    errno.ETIMEDOUT: "its disk does not answer: see to the network or its server",
}


class CommandError(Exception):
    """A command cannot do its work; exit status 1.

    The message is the one line that the terminal shows.
    """


class SettingsError(ValueError):
    """A setting cannot be used; exit status 2.

    The message names the variable, never the value of a secret.
    """


def meaning(error: OSError, *, folder: Path | None = None) -> str:
    """Return what an error of the system means, and what to do.

    Args:
        error: of any call.
        folder: the folder that was written to, if the error has no path.
    """
    if error.errno == errno.ENOSPC:
        if isinstance(error.filename, str | bytes):
            folder = Path(os.fsdecode(error.filename))
        return _disk_full(folder)
    return _MEANINGS.get(error.errno or 0) or error.strerror or str(error)


def _disk_full(path: Path | None) -> str:
    """Tell a disk without free bytes from one without inodes: the system has one error for both."""
    for folder in (path, *path.parents) if path else ():
        try:
            disk = os.statvfs(folder)
        except OSError:
            continue
        if disk.f_files and not disk.f_favail and disk.f_bavail:
            return (
                f"the disk has no inodes left ({path}): it holds as many files as it can, "
                "so delete some, or take another disk"
            )
        break
    return f"the disk is full ({path or 'data folder'}): free some space"
