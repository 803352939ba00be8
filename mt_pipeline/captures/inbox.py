"""Which files lie in the inbox, and whether they look like captures.

Nothing in the inbox is ever moved, changed or deleted. What a file is called is `naming.py`.
Whether it is new and settled is `scan.py`. Only tshark knows whether its packets can be read.
"""

import heapq
import math
import os
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

from mt_pipeline.captures.identity import Capture, open_capture, unreadable
from mt_pipeline.captures.naming import refusal_of_key, storable

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

_PCAP = {
    magic
    # Microseconds, nanoseconds, Kuznetzov's variant.
    for number in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
    for magic in (number.to_bytes(4, "big"), number.to_bytes(4, "little"))
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_PCAPNG_ORDERS = {b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"}
_HEAD_BYTES = 24
"""The header of a pcapng without its options: tshark takes less for a file of another kind."""

_COMPRESSED = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_PACKED = {
    b"\xfd7zX": ("xz", "unxz"),
    b"BZh": ("bzip2", "bunzip2"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
    b"Rar!": ("RAR", "unrar x"),
}
"""Formats that tshark does not read, by their first bytes: name, and what unpacks them."""

_CURE = (
    "put pcap or pcapng files here, plain or compressed by gzip, zstd or lz4; "
    "convert others with editcap, or remove it."
)


@dataclass(frozen=True)
class Refused:
    """A file that cannot be taken: its name cannot be a key, or it may not be read.

    Attributes:
        key: path below the inbox, as `naming.storable` writes it.
        path: the file.
        reason: a sentence that names the file, the reason and the cure.
    """

    key: str
    path: Path
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
        """A sentence for each folder that could not be read."""
        return list(self.unread.values())

    def may_have(self, key: str) -> bool:
        """Return whether a missing file may be in a folder that could not be read."""
        return any(
            not folder or key.removeprefix("./").startswith(f"{folder}/") for folder in self.unread
        )


def walk(inbox: Path) -> Walk:
    """Return every file below the inbox, at any depth.

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


def sniff(capture: Capture) -> str | None:
    """Return why the file is no capture and the cure, by its first bytes; None if it may be one.

    Only formats for captures are taken. tshark also reads others, which any text may look like.
    """
    try:
        with open_capture(capture) as file:
            # Of what is no file of a disk, as in /proc, not even a byte may be readable.
            if not os.fstat(file.fileno()).st_size:
                return f"{capture.key} is empty: record it again, or remove it."
            head = file.read(_HEAD_BYTES)
            if codec := codec_of(head):
                head = _decompressed(capture, codec)
    except FileNotFoundError:
        return f"{capture.key} is not in the inbox any more: copy it there again."
    except OSError as error:
        return unreadable(capture.key, error)
    except (ValueError, MemoryError) as error:  # Arrow raises these for invalid compressed bytes
        return f"{capture.key} cannot be decompressed ({error}): compress it again, or replace it."
    if head[:4] in _PCAP or _is_pcapng(head):
        return None
    return _not_a_capture(capture, head, codec)


def codec_of(head: bytes) -> str | None:
    """Return how a file is compressed, as Arrow names it, by at least 4 of its bytes; else None."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)


def _is_pcapng(head: bytes) -> bool:
    # The first four bytes are ends of lines, with which a text may begin, too.
    return head[:4] == _PCAPNG and head[8:12] in _PCAPNG_ORDERS and len(head) == _HEAD_BYTES


def _not_a_capture(capture: Capture, head: bytes, codec: str | None) -> str:
    for magic, (name, unpack) in _PACKED.items():
        if head.startswith(magic):
            command = f"{unpack} {shlex.quote(capture.path.name)}"
            return (
                f"{capture.key} is packed with {name}, which tshark does not read: "
                f"unpack it with `{command}`, and put what comes out here."
            )
    reason = (
        f"what is compressed in it ({codec}) is no capture"
        if codec
        else "it does not begin like a capture"
    )
    return f"{capture.key} is not a capture: {reason}; {_CURE}"


def _decompressed(capture: Capture, codec: str) -> bytes:
    import pyarrow as pa  # takes a third of a second, so only for compressed captures

    with (
        open_capture(capture) as file,
        pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) as stream,
    ):
        try:
            head: bytes = stream.read(_HEAD_BYTES)
        except OSError as error:
            if error.errno is None:  # Arrow's own: the compressed bytes are damaged
                raise ValueError(error) from error
            raise
    return head


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
        result.refused.append(Refused(storable(key), Path(entry.path), reason))
    else:
        result.captures.append(capture)
