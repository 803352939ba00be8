"""What a capture is called: its key, its experiment, its fingerprint, its content's hash, its file name in every stage.

Here are names and hashes only. Which files there are is `inbox.py`; what became of them is `ledger.py`.

Keys are paths, so two files never share one: names that differ only in how Unicode writes them are different keys, and a file that is
linked under two names is two captures, as whoever made the second link asked for. A *folder* that is reached twice is walked once
(`inbox.py`). The only names that could meet are those that no key can hold; `storable` keeps them apart.
"""

import hashlib
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from mt_pipeline.errors import meaning

LONGEST_KEY = 1000
"""Bytes of UTF-8. Percent-encoded in a link a key is three times as long, and PostgreSQL, if Dagster is given one, indexes up to 2,700 bytes."""

_ENDINGS = re.compile(r"(\.(pcapng|pcap|cap|dmp|ntar))?(\.(gz|zst|lz4))?$", re.IGNORECASE)
_NO_FILE = "not a file but a pipe, a device or a folder: write what comes out of it to a file, and put that here."
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_A_PATH = re.compile(r"(^|/)\.{0,2}(/|$)")


class CaptureError(Exception):
    """Something is wrong with a capture or with what we know of it; the message says what, and what to do."""


class KeyRefusedError(CaptureError):
    """The name cannot be a capture key."""


class OutsideInboxError(CaptureError):
    """The path is not below the inbox."""


class CaptureUnreadableError(CaptureError):
    """The file is not there, is not a file, or may not be read."""


class NotAFileError(OSError):
    """A pipe, a socket or a device: reading it might never end."""


class CaptureGoneError(CaptureUnreadableError):
    """The file is not there: a ring buffer deleted it, or a person took it out."""


class CaptureChangedError(CaptureError):
    """The file grew or was replaced while it was read."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A file with packets, as it was when we looked.

    Attributes:
        key: path below the inbox; the Dagster partition.
        inbox: the watched folder.
        size: in bytes.
        mtime_ns: time of the last change, nanoseconds since 1970.
        seen_at: when it was first seen in this form, seconds since 1970. Only the ledger tells, as the next one.
        attempts: runs that ended without a verdict on it.
    """

    key: str
    inbox: Path
    size: int
    mtime_ns: int
    seen_at: float = field(default=0, compare=False)
    attempts: int = field(default=0, compare=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.inbox / self.key

    @property
    def experiment(self) -> str:
        """Name of its experiment."""
        return experiment_of(self.key)


def key_of(inbox: Path, path: Path) -> str:
    """Return the capture key of a file: its POSIX path below the inbox, as it is.

    Links below the inbox are kept as they are named; `..` and other ways to the inbox are resolved.

    Raises:
        OutsideInboxError: the path is not below the inbox.
    """
    ways = (path.absolute(), inbox.absolute()), (path.parent.resolve() / path.name, inbox.resolve())
    for file, folder in ways:
        if file.is_relative_to(folder) and file != folder and ".." not in file.parts:
            return file.relative_to(folder).as_posix()
    raise OutsideInboxError(
        f"{path} is not below the inbox {inbox}: copy or link it to a folder there."
    )


def refusal_of_key(key: str) -> str | None:
    """Say in a sentence why a name cannot be a capture key and what to do, or return None if it can.

    Dagster writes ranges of partitions as `a...b`; control characters and bytes that are not UTF-8 survive neither its pages nor a database.
    """
    if "..." in key:
        reason = "its name contains '...', which Dagster reads as a range"
    elif _UNPRINTABLE.search(key):
        reason = "its name has control characters, or bytes that are not UTF-8"
    elif _NOT_A_PATH.search(key):
        reason = "this is not the path of a file below the inbox"
    elif len(key) * 4 > LONGEST_KEY and len(key.encode()) > LONGEST_KEY:
        reason = f"its path below the inbox is longer than {LONGEST_KEY} bytes"
    else:
        return None
    return f"{storable(key)} cannot be taken: {reason}. Rename it."


def storable(key: str) -> str:
    r"""Return a name that databases and terminals can hold: the key itself, or `./` and the key with escapes (`./lab/caf\xe9.pcap`).

    No key begins with `./` and backslashes are escaped too, so two names never become one.
    """
    if not _UNPRINTABLE.search(key):
        return key
    return "./" + _UNPRINTABLE.sub(_escape, key.replace("\\", r"\\"))


def capture_at(inbox: Path, key: str) -> Capture:
    """Look at the file of a key.

    Raises:
        KeyRefusedError: the key is none.
        CaptureGoneError: nothing is there.
        CaptureUnreadableError: it is no file, or may not be looked at.
    """
    if refusal := refusal_of_key(key):
        raise KeyRefusedError(refusal)
    try:
        found = (inbox / key).stat()
    except OSError as error:
        raise _unreadable(key, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise CaptureUnreadableError(f"{key} is {_NO_FILE}")
    return Capture(key, inbox, found.st_size, found.st_mtime_ns)


def named_experiment(key: str) -> str:
    """Return the name that the user gave the experiment: the first folder, or the file without its capture and compression endings."""
    first, _, below = key.removeprefix("./").partition("/")
    return first if below else _ENDINGS.sub("", first) or first


def experiment_of(key: str) -> str:
    """Return the experiment of a capture, folded to `[a-z0-9_]{1,64}`.

    A name without any such character (`***`, or one in Chinese) becomes `_`, so it is never empty.
    """
    return re.sub(r"[^a-z0-9]+", "_", named_experiment(key).lower())[:64]


def label_of(key: str) -> str | None:
    """Return the folders between the experiment and the file, `alexa/idle` of `kitchen/alexa/idle/x.pcap`; None if there are none."""
    return key.partition("/")[2].rpartition("/")[0] or None


def experiment_named(name: str) -> str:
    """Return the experiment that people mean by a name: that of a folder of this name will do."""
    return experiment_of(f"{name}/x")


def shared_experiments(keys: Iterable[str]) -> dict[str, list[str]]:
    """Find the experiments that several names fold to, with these names: they share a view, and the user must be told."""
    names: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        names[experiment_of(key)].add(named_experiment(key))
    return {
        experiment: sorted(several) for experiment, several in names.items() if len(several) > 1
    }


def file_name_of(key: str) -> str:
    """Return the name of a capture's files in every stage: readable, at most 120 bytes, plain ASCII, and its own by the hash of the key."""
    readable = re.sub(r"[^A-Za-z0-9._]+", "_", key.rpartition("/")[2])[:50].lstrip(".")
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()}"


def sha256_of(capture: Capture) -> str:
    """Hash the content, in hexadecimal, reading block by block.

    Raises:
        CaptureGoneError: the file vanished.
        CaptureUnreadableError: it may not be read.
        CaptureChangedError: it is not what `capture` says, before or after it was read.
    """
    try:
        with open_capture(capture) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(capture.key, error) from error
    check_unchanged(capture)
    return digest


def check_unchanged(capture: Capture) -> None:
    """Make sure that the file still is what `capture` says.

    Raises:
        CaptureGoneError: the file vanished.
        CaptureChangedError: its size or its time differ.
    """
    try:
        found = capture.path.stat()
    except OSError as error:
        raise _unreadable(capture.key, error) from error
    if (found.st_size, found.st_mtime_ns) != (capture.size, capture.mtime_ns):
        raise CaptureChangedError(
            f"{capture.key} changed while it was read: it is taken again as soon as it is quiet."
        )


def open_capture(capture: Capture) -> BufferedReader:
    """Open the file to read it; a pipe or a device that took its place never makes us wait.

    Raises:
        OSError: it cannot be opened.
    """
    file = open(capture.path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))  # noqa: SIM115 Path.open has no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFileError(f"{capture.key} is {_NO_FILE}")
    return file


def unreadable(key: str, error: OSError) -> str:
    """Say in a sentence why a file cannot be read, and what to do."""
    if isinstance(error, NotAFileError):
        return f"{key} is {_NO_FILE}"
    if isinstance(error, PermissionError):
        return f"{key} cannot be read: make it readable for this user."
    return f"{key} cannot be read: {meaning(error)}."


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # how Python writes a byte that is not UTF-8
    return f"\\x{code - 0xDC00:02x}" if is_byte else f"\\u{code:04x}"


def _unreadable(key: str, error: OSError) -> CaptureUnreadableError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return CaptureGoneError(f"{key} is not in the inbox any more: copy it there again.")
    return CaptureUnreadableError(unreadable(key, error))
