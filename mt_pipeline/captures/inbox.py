"""Which files lie in the inbox, a folder or a store.

Nothing in the inbox is ever moved, changed or deleted. What a file is called is `naming.py`.
Whether it is new and settled is `scan.py`, and whether it looks like a capture `first_bytes.py`.
"""

import heapq
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from mt_pipeline.captures.identity import Capture, location_of, open_capture
from mt_pipeline.captures.naming import refusal_of_key, storable
from mt_pipeline.captures.store import Inbox, InboxError, Store

PARTIAL = (
    ".part",
    ".partial",
    ".filepart",
    ".crdownload",
    ".download",
    ".opdownload",
    ".tmp",
    ".temp",
    "~",
)
"""Endings of files that a program is still writing; rsync and others write hidden files."""


@dataclass(frozen=True)
class Refused:
    """A file that cannot be taken: its name cannot be a key, or it may not be read.

    Attributes:
        key: path below the inbox, as `naming.storable` writes it.
        location: its path or its URL.
        reason: a sentence that names the file, the reason and the cure.
    """

    key: str
    location: str
    reason: str


@dataclass(frozen=True)
class Walk:
    """What one walk of the inbox returned.

    Attributes:
        captures: files that may be captures, in no order; their content was not read.
        refused: files that cannot be taken.
        unread: for each folder that could not be read, by its path below the inbox: why, and the
            cure, in a sentence. A file below such a folder does not count as deleted.
        began: when it began, seconds since 1970; infinite if nothing can have changed since.
    """

    captures: list[Capture] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    began: float = field(default=math.inf, compare=False)

    @property
    def problems(self) -> list[str]:
        """A sentence for each folder, or the store, that could not be read."""
        return list(self.unread.values())

    def may_have(self, key: str) -> bool:
        """Return whether a missing file may be in a folder that could not be read."""
        return any(
            not folder or key.removeprefix("./").startswith(f"{folder}/") for folder in self.unread
        )


def prepare(inbox: Inbox) -> None:
    """Make the watched folder, if it is one and not there."""
    if isinstance(inbox, Path):
        inbox.mkdir(parents=True, exist_ok=True)


def walk(inbox: Inbox) -> Walk:
    """Return every file below the inbox, at any depth. Hidden and unfinished ones are skipped."""
    return _folder(inbox) if isinstance(inbox, Path) else _store(inbox)


def _store(inbox: Store) -> Walk:
    """Return every object below the prefix. Empty ones that stand for a folder are skipped.

    If the listing breaks off, nothing counts as deleted.
    """
    result = Walk(began=time.time())
    try:
        for key, (size, mtime_ns) in inbox.objects():
            stands_for_folder = not key or (key.endswith("/") and not size)
            if stands_for_folder or _is_skipped(key):
                continue
            if reason := refusal_of_key(key):
                result.refused.append(Refused(storable(key), location_of(inbox, key), reason))
            else:
                result.captures.append(Capture(key, inbox, size, mtime_ns))
    except InboxError as error:
        result.unread[""] = str(error)
    return result


def _is_skipped(key: str) -> bool:
    parts = key.split("/")
    is_hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return is_hidden or key.lower().endswith(PARTIAL)


def _folder(inbox: Path) -> Walk:
    """Return every file of a watched folder.

    Links are followed, and each folder is read once: real folders first, then linked ones by name,
    so that the names of files do not depend on chance. These are skipped: links to the inbox or to
    a folder above it, hidden names, names of unfinished files, and all that is not a file. Files
    that vanish meanwhile and broken links do no harm.
    """
    result = Walk(began=time.time())
    seen = {_identity(folder) for folder in inbox.resolve().parents}
    folders, links = [""], list[str]()
    while folders or links:
        below = folders.pop() if folders else heapq.heappop(links)
        try:
            folder = _identity(inbox / below)
            if folder in seen:
                continue
            seen.add(folder)
            entries = _entries(inbox / below)
        except OSError as error:
            if not below or not isinstance(error, FileNotFoundError):  # else it has vanished
                result.unread[below] = (
                    f"The folder {storable(below) or inbox} cannot be read ({error.strerror}): "
                    "make it readable for this user."
                )
            continue
        prefix = f"{below}/" if below else ""
        for entry, is_folder in entries:
            if not is_folder:
                _add(result, entry, inbox, prefix + entry.name)
            elif entry.is_symlink():
                heapq.heappush(links, prefix + entry.name)
            else:
                folders.append(prefix + entry.name)
    return result


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[tuple[os.DirEntry[str], bool]]:
    """Return the files and folders of a folder that may be taken, and whether each is a folder."""
    listed = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    listed.append((entry, True))
                elif entry.is_file() and not entry.name.lower().endswith(PARTIAL):
                    listed.append((entry, False))
            except PermissionError:  # a link to a forbidden folder: `_add` refuses it
                listed.append((entry, False))
            except OSError:  # a link to itself
                continue
    return listed


def _add(result: Walk, entry: os.DirEntry[str], inbox: Path, key: str) -> None:
    try:
        file = entry.stat()
        capture = Capture(key, inbox, file.st_size, file.st_mtime_ns)
        reason = refusal_of_key(key)
        # Checked in each walk: making a file readable changes neither its size nor its time.
        if reason is None and not os.access(entry.path, os.R_OK):
            open_capture(capture).close()  # raises why
    except PermissionError:
        reason = f"{storable(key)} cannot be read: make it readable for this user."
    except OSError:  # it vanished since it was listed
        return
    if reason:
        result.refused.append(Refused(storable(key), entry.path, reason))
    else:
        result.captures.append(capture)
