"""What a server's data folder records: which server runs on it, and whether the last one crashed.

The Java process inherits a lock on `server.lock`, and so holds it exactly as long as it lives. That
lock, and not the recorded process id, shows whether the server of a folder is alive and ours.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mt_pipeline.backends.questdb.server_errors import FolderInUse, FolderUnusable
from mt_pipeline.errors import meaning

_RECORD = "server.json"
_LOCK = "server.lock"
_CRASHED = "crashed"


@dataclass(frozen=True)
class Address:
    """A running embedded server: its process and its ports on 127.0.0.1."""

    pid: int
    http_port: int
    pg_port: int


def find(folder: Path) -> Address | None:
    """Return the server that this project runs on a folder, if it is alive and ready."""
    try:
        address = Address(**json.loads((folder / _RECORD).read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
    return address if is_locked(folder) else None


def record(folder: Path, address: Address) -> None:
    """Record a server that is ready, so that `find` returns it."""
    part = folder / f"{_RECORD}.part"
    part.write_text(json.dumps(asdict(address)))
    part.replace(folder / _RECORD)


def delete_record(folder: Path) -> None:
    """Delete the record of a server that is stopped in order."""
    (folder / _RECORD).unlink(missing_ok=True)


def note_crash(folder: Path) -> None:
    """Note a crash if the last server has left its record."""
    if (folder / _RECORD).exists():
        (folder / _CRASHED).touch()
    delete_record(folder)


def has_crashed(folder: Path) -> bool:
    """Return whether a server crashed, and nobody has checked the tables since."""
    return (folder / _CRASHED).exists() or ((folder / _RECORD).exists() and not is_locked(folder))


def forget_crash(folder: Path) -> None:
    """Note that somebody has checked the tables."""
    (folder / _CRASHED).unlink(missing_ok=True)


@contextmanager
def naming_folder(folder: Path) -> Iterator[None]:
    """Turn an OSError into a FolderUnusable that names the folder and the cure."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # no other folder helps
        raise FolderUnusable(
            f"{folder} cannot hold QuestDB's data: {meaning(error, folder=folder)}, "
            "or set MT_DATA_DIR to another folder"
        ) from error


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Lock a folder for one server, and create it if necessary.

    Yields:
        The file descriptor. A process that inherits it keeps the lock.

    Raises:
        FolderInUse: another server has the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + 1  # `find` of another process locks it for an instant
        while not try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                pid = os.pread(descriptor, 20, 0).decode() or "unknown"
                raise FolderInUse(
                    f"QuestDB already runs on {folder}, as process {pid}; stop it, "
                    "or set MT_DATA_DIR to another folder"
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Return whether a server, or somebody about to start one, has locked the folder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Lock a file if that is possible without waiting. Returns whether it was."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
