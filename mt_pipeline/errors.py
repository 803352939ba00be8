"""Errors that end a command, and the meaning and cure of errors of the operating system."""

import errno
import os
from contextlib import ExitStack
from pathlib import Path

_MEANINGS = {
    errno.EEXIST: "something of this name is there already: move it away",
    errno.ENOTDIR: "a file is where a folder is needed: move it away",
    errno.EDQUOT: "the quota of this user is used up: delete something, or have it raised",
    errno.EMFILE: (
        "{process} has as many files open as it may: raise the limit with `ulimit -n 65536`"
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


STOPPING = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.EROFS,
    errno.ENOLCK,
)
"""Errors of the operating system that stop any work, whatever file it is about."""

_QUOTES = {
    quote: number
    for number in STOPPING
    for quote in (os.strerror(number), f"errno={number}]", f"errno={number},", f"[{number}] ")
}
"""How programs quote such an error: its text, or, as QuestDB does, its number."""

_SPARE_FILES = 8
"""What fails for lack of open files closes some: with fewer left it fails again."""
_SPARE_BYTES = 2**20
_FEW_INODES = 10_000
"""What fails for lack of inodes may give some back: QuestDB has thousands of files."""


class CommandError(Exception):
    """A command cannot do its work; exit status 1.

    The message is the one line that the terminal shows.
    """


class SettingsError(ValueError):
    """A setting cannot be used; exit status 2.

    The message names the variable, never the value of a secret.
    """


def meaning(error: OSError, *, folder: Path | None = None, process: str = "this process") -> str:
    """Return what an error of the system means, and what to do.

    Args:
        error: of any call.
        folder: the folder that was written to, if the error has no path.
        process: who met the error.
    """
    if error.errno == errno.ENOSPC:
        if isinstance(error.filename, str | bytes):
            folder = Path(os.fsdecode(error.filename))
        return _inodes_are_short(folder) or _disk_full(folder)
    text = _MEANINGS.get(error.errno or 0)
    return text.format(process=process) if text else error.strerror or str(error)


def quoted(text: str) -> OSError | None:
    """Return the error of the system that the message of a program quotes, if it is `STOPPING`."""
    # The longest first: the text of one error may begin another's.
    for quote in sorted(_QUOTES, key=len, reverse=True):
        if quote in text:
            return OSError(_QUOTES[quote], os.strerror(_QUOTES[quote]))
    return None


def shortage(folder: Path) -> str | None:
    """Return what is used up, for libraries that do not tell why they cannot use a file.

    Args:
        folder: the folder that was written to.
    """
    try:
        with ExitStack() as opened:
            for _ in range(_SPARE_FILES):
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return meaning(error)
    disk = _disk(folder)
    if disk and disk.f_bavail * disk.f_frsize < _SPARE_BYTES:
        return _disk_full(folder)
    return _inodes_are_short(folder)


def _inodes_are_short(path: Path | None) -> str | None:
    """Tell a disk without inodes from one without bytes: the system has one error for both.

    What is shorter was the reason. A part may be free again when this is asked.
    """
    disk = _disk(path)
    if not disk or not disk.f_files or disk.f_favail >= min(_FEW_INODES, disk.f_files / 20):
        return None
    if disk.f_favail / disk.f_files >= disk.f_bavail / disk.f_blocks:
        return None
    return (
        f"the disk has {disk.f_favail or 'no'} inodes left ({path}): it holds as many files as it "
        "can, so delete some, or take another disk"
    )


def _disk_full(path: Path | None) -> str:
    return f"the disk is full ({path or 'data folder'}): free some space"


def _disk(path: Path | None) -> os.statvfs_result | None:
    """Return the numbers of the disk of a path, which may not exist."""
    for folder in (path, *path.parents) if path else ():
        try:
            return os.statvfs(folder)
        except OSError:
            continue
    return None
