"""What a command of the terminal may end with, beside the errors of the rooms, and what the system's errors mean for people."""

import errno
import os
from pathlib import Path

_MEANINGS = {
    errno.EDQUOT: "the quota of this user is used up: delete something, or have it raised",
    errno.EMFILE: "this process has as many files open as it may: raise the limit with `ulimit -n 65536`",
    errno.ENFILE: "this machine has as many files open as it may: stop what opens so many, or raise fs.file-max",
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
    """A command cannot do what it was told; exit status 1. The message is the one line that the terminal shows."""


class SettingsError(ValueError):
    """A setting cannot be used; exit status 2. The message names the variable, never its value if that is a secret."""


def meaning(error: OSError, *, folder: Path | None = None) -> str:
    """Say what an error of the system means, and what to do.

    Args:
        error: of any call.
        folder: where it was written, if the error does not say.
    """
    if error.errno == errno.ENOSPC:
        return _full(
            Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
        )
    return _MEANINGS.get(error.errno or 0) or error.strerror or str(error)


def _full(place: Path | None) -> str:
    """Tell a disk without bytes from one without inodes: the system has one error for both."""
    for folder in (place, *place.parents) if place else ():
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        if found.f_files and not found.f_favail and found.f_bavail:
            return f"the disk has no inodes left ({place}): it holds as many files as it can, so delete some, or take another disk"
        break
    return f"the disk is full ({place or 'data folder'}): free some space"
