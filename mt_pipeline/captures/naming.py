"""What a capture is called: its key, its experiment, its label, its file name in every stage.

Here are names only, and the errors of captures. The file behind a key is `identity.py`.

Keys are paths, so two files never share one. Names that differ only in how Unicode writes them are
different keys. A file that is linked under two names is two captures, as whoever made the second
link intended; a *folder* that is reached twice is read once (`inbox.py`). Only names that cannot
be keys could collide, and `storable` keeps them apart.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Self

LONGEST_KEY = 1000
"""Bytes of UTF-8. Percent-encoded in a link, a key is three times as long, and PostgreSQL, if you
give one to Dagster, indexes up to 2,700 bytes."""

_ENDINGS = re.compile(r"(\.(pcapng|pcap|cap|dmp|ntar))?(\.(gz|zst|lz4))?$", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_A_PATH = re.compile(r"(^|/)\.{0,2}(/|$)")


class CaptureError(Exception):
    """Something is wrong with a capture or its record; the message names the cause and the cure."""


class KeyRefusedError(CaptureError):
    """The name cannot be a capture key."""


class CaptureUnreadableError(CaptureError):
    """The file is missing, is not a regular file, or may not be read."""


class CaptureGoneError(CaptureUnreadableError):
    """The file is missing: a ring buffer or a person deleted it."""


class CaptureChangedError(CaptureError):
    """The file grew or was replaced while it was read."""

    @classmethod
    def of(cls, key: str) -> Self:
        """Return the error of a capture."""
        return cls(f"{key} changed while it was read: it is taken again as soon as it is quiet.")


class OutsideInboxError(CaptureError):
    """The path is not below the inbox."""


def key_of(inbox: Path, path: Path) -> str:
    """Return the capture key of a file: its POSIX path below the inbox, unchanged.

    Links below the inbox keep their names; `..` and other ways to the inbox are resolved.

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
    """Return why a name cannot be a capture key and the cure, in a sentence; None if it can.

    Dagster writes ranges of partitions as `a...b`. Control characters and bytes that are not UTF-8
    survive neither Dagster's pages nor a database.
    """
    reason = _fault(key)
    return reason and f"{storable(key)} cannot be taken: {reason}. Rename it."


def refusal_of_experiment(name: str) -> str | None:
    """Return why files cannot be put below a name in the inbox, and the cure; None if they can."""
    reason = _fault(f"{name}/x")
    return reason and f"{name!r} cannot name an experiment: {reason}; choose another name"


def _fault(key: str) -> str | None:
    if "..." in key:
        return "its name contains '...', which Dagster reads as a range"
    if _UNPRINTABLE.search(key):
        return "its name has control characters, or bytes that are not UTF-8"
    if _NOT_A_PATH.search(key):
        return "this is not the path of a file below the inbox"
    if len(key) * 4 > LONGEST_KEY and len(key.encode()) > LONGEST_KEY:
        return f"its path below the inbox is longer than {LONGEST_KEY} bytes"
    return None


def storable(key: str) -> str:
    r"""Return a name that databases and terminals can hold.

    That is the key itself, or `./` and the key with escapes (`./lab/caf\xe9.pcap`). No key begins
    with `./`, and backslashes are escaped too, so two names never become the same.
    """
    if not _UNPRINTABLE.search(key):
        return key
    return "./" + _UNPRINTABLE.sub(_escape, key.replace("\\", r"\\"))


def unfolded_experiment(key: str) -> str:
    """Return the name that the user gave the experiment.

    That is the first folder, or the file without its capture and compression endings.
    """
    first, _, below = key.removeprefix("./").partition("/")
    return first if below else _ENDINGS.sub("", first) or first


def experiment_of(key: str) -> str:
    """Return the experiment of a capture, folded to `[a-z0-9_]{1,64}`.

    A name without any such character (`***`, or a Chinese one) becomes `_`, so it is never empty.
    """
    return re.sub(r"[^a-z0-9]+", "_", unfolded_experiment(key).lower())[:64]


def label_of(key: str) -> str | None:
    """Return the folders between the experiment and the file; None if there are none.

    The label of `kitchen/alexa/idle/x.pcap` is `alexa/idle`.
    """
    return key.partition("/")[2].rpartition("/")[0] or None


def fold_experiment(name: str) -> str:
    """Return the experiment that a user means by a name, which may be that of its folder."""
    return experiment_of(f"{name}/x")


def shared_experiments(keys: Iterable[str]) -> dict[str, list[str]]:
    """Return the experiments that several names fold to, each with these names.

    They share a view, so the user must be warned.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        names[experiment_of(key)].add(unfolded_experiment(key))
    return {
        experiment: sorted(several) for experiment, several in names.items() if len(several) > 1
    }


def file_name_of(key: str) -> str:
    """Return the name of a capture's files in every stage: plain ASCII, at most 120 bytes.

    It begins readably and ends with the hash of the key, which makes it unique.
    """
    readable = re.sub(r"[^A-Za-z0-9._]+", "_", key.rpartition("/")[2])[:50].lstrip(".")
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # how Python writes a byte that is not UTF-8
    return f"\\x{code - 0xDC00:02x}" if is_byte else f"\\u{code:04x}"
