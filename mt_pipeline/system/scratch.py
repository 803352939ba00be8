"""Temporary files on a disk of this machine, if the settings name one (`MT_SCRATCH_DIR`).

A process has a folder of its own there, which it deletes at its end and keeps locked until then.
Each one that comes deletes the folders that nobody has locked: their processes were killed.
Without such a disk temporary files lie beside what they are for.
"""

import atexit
import fcntl
import os
import secrets
import shutil
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

from mt_pipeline.system import private

_OURS = "process-"
_used: dict[str, Path] = {}
"""The folder of `use`, as `root`."""


def use(root: Path | None) -> None:
    """Have temporary files of this process below a folder, or beside what they are for.

    Args:
        root: of this account and this machine alone.

    Raises:
        OSError: it cannot be made.
        PermissionError: it belongs to another account.
    """
    _used.clear()
    if root is not None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()  # others may write where it lies
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(None, "it belongs to another account: name another", str(root))
        private.folder(root)
        _used["root"] = root


def near(folder: Path) -> Path:
    """Return where temporary files go that are for files of a folder.

    Raises:
        OSError: it cannot be made.
    """
    if (used := root()) is None:
        return folder
    own = _own(used, os.getpid())
    own.mkdir(mode=0o700, exist_ok=True)  # somebody may have tidied up
    return own


def root() -> Path | None:
    """Return the folder of `use`."""
    return _used.get("root")


@cache
def _own(root: Path, process: int) -> Path:
    """Make the folder of a process: a child that is forked must not use that of its parent."""
    newcomers = os.open(root / "newcomers.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(newcomers, fcntl.LOCK_EX)
        for lock in root.glob(f"{_OURS}*.lock"):
            _delete_if_abandoned(lock)
        own = root / f"{_OURS}{process}-{secrets.token_hex(4)}"
        # It stays open, here and in children that are forked, until all of these have ended.
        held = os.open(_lock_of(own), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        own.mkdir(mode=0o700)
    finally:
        os.close(newcomers)
    atexit.register(_delete, own, process)
    return own


def _lock_of(own: Path) -> Path:
    return own.with_name(f"{own.name}.lock")


def _delete_if_abandoned(lock: Path) -> None:
    with lock.open("rb+") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink()


def _delete(own: Path, process: int) -> None:
    if process == os.getpid():
        shutil.rmtree(own, ignore_errors=True)
        _lock_of(own).unlink(missing_ok=True)
