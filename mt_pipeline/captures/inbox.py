"""Which files lie in the inbox, and whether they look like captures.

Nothing in the inbox is ever moved, changed or deleted. What a file is called is `identity.py`; whether it is new and settled is
`ledger.py`, the memory between two walks; whether its packets can be read is for tshark to say.
"""

import heapq
import math
import os
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

from mt_pipeline.captures.identity import (
    Capture,
    open_capture,
    refusal_of_key,
    storable,
    unreadable,
)

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
"""Endings of files that some program is still writing; rsync and others write hidden files."""

_PCAP = {
    magic
    for number in (
        0xA1B2C3D4,
        0xA1B23C4D,
        0xA1B2CD34,
    )  # microseconds, nanoseconds, Kuznetzov's variant
    for magic in (number.to_bytes(4, "big"), number.to_bytes(4, "little"))
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_COMPRESSED = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_PACKED = {
    b"\xfd7zX": ("xz", "unxz"),
    b"BZh": ("bzip2", "bunzip2"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
    b"Rar!": ("RAR", "unrar x"),
}
"""How files are compressed that tshark does not read, and what unpacks them."""

_CURE = "put pcap or pcapng files here, plain or compressed by gzip, zstd or lz4; convert others with editcap, or remove it."


@dataclass(frozen=True)
class Refused:
    """A file that cannot be taken, whatever is in it: its name cannot be a key, or it may not be read.

    Attributes:
        key: path below the inbox, in a form that can be stored.
        path: the file.
        reason: a sentence that names the file, the reason and the cure.
    """

    key: str
    path: Path
    reason: str


@dataclass(frozen=True)
class Walk:
    """What one walk of the inbox found.

    Attributes:
        captures: files that may be captures, in no order; their content was not looked at.
        refused: files that cannot be taken.
        unread: a sentence for each folder that could not be read, by its path below the inbox. A file below it is not known to be gone.
        began: when it began, seconds since 1970: what became of a capture since then it knows nothing of. Infinite if it is of the present.
    """

    captures: list[Capture] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    began: float = math.inf

    @property
    def problems(self) -> list[str]:
        """What to say of the folders that could not be read."""
        return list(self.unread.values())

    def may_have(self, key: str) -> bool:
        """Say whether a file that was not found may lie in a folder that could not be read."""
        return any(
            not folder or key.removeprefix("./").startswith(f"{folder}/") for folder in self.unread
        )


def walk(inbox: Path) -> Walk:
    """Find every file below the inbox, at any depth.

    Links are followed, each folder is walked once: real folders first, then linked ones by name, so that what a file is called does
    not depend on chance. Links to the inbox or to a folder above it are passed over, as are hidden names, names of unfinished
    files, and all that is not a file. Files that vanish meanwhile and links to nowhere do no harm.
    """
    found = Walk(began=time.time())
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
            if below and isinstance(error, FileNotFoundError):  # vanished since it was listed
                continue
            found.unread[below] = (
                f"The folder {storable(below) or inbox} cannot be read ({error.strerror}): make it readable for this user."
            )
            continue
        prefix = f"{below}/" if below else ""
        for entry, is_folder in entries:
            if not is_folder:
                _add(found, entry, inbox, prefix + entry.name)
            elif entry.is_symlink():
                heapq.heappush(links, prefix + entry.name)
            else:
                folders.append(prefix + entry.name)
    return found


def sniff(capture: Capture) -> str | None:
    """Say in a sentence why the file is no capture, by its first bytes, and what to do; return None if it may be one.

    Only formats that are for captures are taken: tshark reads many others, among them ones that any text may look like.
    """
    try:
        with open_capture(capture) as file:
            head = file.read(4)
            if not head:
                return f"{capture.key} is empty: record it again, or remove it."
            if codec := codec_of(head):
                head = _decompressed(capture, codec)
    except FileNotFoundError:
        return f"{capture.key} is not in the inbox any more: copy it there again."
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno:
            return unreadable(capture.key, error)
        # Arrow raises these for compressed bytes that make no sense.
        return f"{capture.key} cannot be decompressed ({error}): compress it again, or replace it."
    if head in _PCAP or head == _PCAPNG:
        return None
    if packed := next((how for magic, how in _PACKED.items() if head.startswith(magic)), None):
        name, unpack = packed
        how = f"{unpack} {shlex.quote(capture.path.name)}"
        return f"{capture.key} is packed with {name}, which tshark does not read: unpack it with `{how}`, and put what comes out here."
    what = (
        f"what is compressed in it ({codec}) is no capture"
        if codec
        else "it does not begin like a capture"
    )
    return f"{capture.key} is not a capture: {what}; {_CURE}"


def codec_of(head: bytes) -> str | None:
    """Say how a file is compressed, by its first four bytes, in Arrow's words; None if it is not."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)


def _decompressed(capture: Capture, codec: str) -> bytes:
    import pyarrow as pa  # takes a third of a second: only for those who compress

    with (
        open_capture(capture) as file,
        pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) as stream,
    ):
        head: bytes = stream.read(4)
    return head


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _entries(folder: Path) -> list[tuple[os.DirEntry[str], bool]]:
    """List what may be taken of a folder, each with whether it is a folder itself."""
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
            except PermissionError:  # a link to where we may not look: its refusal says so
                listed.append((entry, False))
            except OSError:  # a link to itself
                continue
    return listed


def _add(found: Walk, entry: os.DirEntry[str], inbox: Path, key: str) -> None:
    try:
        file = entry.stat()
        capture = Capture(key, inbox, file.st_size, file.st_mtime_ns)
        reason = refusal_of_key(key)
        # Looked at in each walk, because making a file readable changes neither its size nor its time.
        if reason is None and not os.access(entry.path, os.R_OK):
            open_capture(capture).close()  # says why
    except PermissionError:
        reason = f"{storable(key)} cannot be read: make it readable for this user."
    except OSError:  # vanished since it was listed
        return
    if reason:
        found.refused.append(Refused(storable(key), Path(entry.path), reason))
    else:
        found.captures.append(capture)
