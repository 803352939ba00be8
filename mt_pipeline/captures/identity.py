"""The file behind a capture key: its size, its time of change, the hash of its content.

What the file is called is `naming.py`. Which files exist is `inbox.py`.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from mt_pipeline.captures.naming import (
    CaptureChangedError,
    CaptureGoneError,
    CaptureUnreadableError,
    KeyRefusedError,
    experiment_of,
    refusal_of_key,
)
from mt_pipeline.captures.store import Inbox, Status
from mt_pipeline.errors import meaning

_NOT_A_FILE = (
    "not a file but a pipe, a device or a folder: "
    "write what comes out of it to a file, and put that here."
)


class NotAFileError(OSError):
    """A pipe, a socket or a device: reading it might never end."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A file with packets, as it was when it was last inspected.

    Attributes:
        key: path below the inbox; the Dagster partition.
        inbox: the watched folder, or the store that has it.
        size: in bytes.
        mtime_ns: time of the last change, nanoseconds since 1970; see `Status` for an object.
        seen_at: when it was first seen in this form, seconds since 1970. Set by the ledger alone.
        attempts: runs that ended without a verdict on it. Set by the ledger alone.
    """

    key: str
    inbox: Inbox
    size: int
    mtime_ns: int
    seen_at: float = field(default=0, compare=False)
    attempts: int = field(default=0, compare=False)

    @property
    def path(self) -> Path:
        """The file. An object of a store has none, but a copy of it has (`growing.snapshot`)."""
        if not isinstance(self.inbox, Path):
            raise TypeError(f"{self.location} is no file")
        return self.inbox / self.key

    @property
    def location(self) -> str:
        """Where it is, for people: its path or its URL."""
        return location_of(self.inbox, self.key)

    @property
    def experiment(self) -> str:
        """Name of its experiment."""
        return experiment_of(self.key)


def location_of(inbox: Inbox, key: str) -> str:
    """Return where a capture is, for people: its path or its URL."""
    return str(inbox / key) if isinstance(inbox, Path) else f"{inbox}/{key}"


def capture_at(inbox: Inbox, key: str) -> Capture:
    """Return the capture of a key, as its file is now.

    Raises:
        KeyRefusedError: the key cannot be a capture key.
        CaptureGoneError: there is no such file.
        CaptureUnreadableError: it is not a regular file, or may not be inspected.
        InboxError: the store cannot be asked.
    """
    if refusal := refusal_of_key(key):
        raise KeyRefusedError(refusal)
    return Capture(key, inbox, *_status(inbox, key))


def sha256_of(capture: Capture) -> str:
    """Hash the content block by block; return the hash in hexadecimal.

    Raises:
        CaptureGoneError: the file vanished.
        CaptureUnreadableError: it may not be read.
        CaptureChangedError: it differs from `capture`, before or after it was read.
        InboxError: the store cannot be asked.
    """
    try:
        with open_capture(capture) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(capture.key, error) from error
    check_unchanged(capture)
    return digest


def check_unchanged(capture: Capture) -> None:
    """Check that the file still has the size and the time of `capture`.

    Raises:
        CaptureGoneError: the file vanished.
        CaptureChangedError: its size or its time differ.
        InboxError: the store cannot be asked.
    """
    if _status(capture.inbox, capture.key) != (capture.size, capture.mtime_ns):
        raise CaptureChangedError.of(capture.key)


def open_capture(capture: Capture) -> BufferedReader:
    """Open the file to read it; never wait for a pipe or a device that took its place.

    Raises:
        OSError: it cannot be opened. What the reading of an object raises says `Store.open`.
    """
    if isinstance(capture.inbox, Path):
        return open_file(capture.path, shown_as=capture.key)
    return capture.inbox.open(capture.key, Status(capture.size, capture.mtime_ns))


def open_file(path: Path, *, shown_as: str) -> BufferedReader:
    """Open a file to read it; never wait for a pipe or a device that took its place.

    Args:
        path: the file.
        shown_as: what errors call it.

    Raises:
        OSError: it cannot be opened.
    """
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  Path.open has no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFileError(f"{shown_as} is {_NOT_A_FILE}")
    return file


def unreadable(key: str, error: OSError) -> str:
    """Return why a file cannot be read and the cure, in a sentence."""
    if isinstance(error, NotAFileError):
        return f"{key} is {_NOT_A_FILE}"
    if isinstance(error, PermissionError):
        return f"{key} cannot be read: make it readable for this user."
    return f"{key} cannot be read: {meaning(error)}."


def _status(inbox: Inbox, key: str) -> Status:
    try:
        if not isinstance(inbox, Path):
            return inbox.status(key)
        status = (inbox / key).stat()
    except OSError as error:
        raise _unreadable(key, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise CaptureUnreadableError(f"{key} is {_NOT_A_FILE}")
    return Status(status.st_size, status.st_mtime_ns)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(key: str, error: OSError) -> CaptureUnreadableError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return CaptureGoneError(f"{key} is not in the inbox any more: copy it there again.")
    return CaptureUnreadableError(unreadable(key, error))
