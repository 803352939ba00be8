"""The files below the folder of a store: which one is in use, and how it is opened.

When a file is opened, and by whom, is in `database.py`; how a damaged one is repaired, in
`repair.py`.
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import diskcache

FILE: str = diskcache.core.DBNAME
REPAIRED = re.compile(r"mended-(\d+)")
"""Folder of a repaired file; the highest number is in use."""

_SETTINGS = {
    # By default diskcache deletes the oldest records beyond 1 GiB. These answers were paid for.
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    # A long history stays in the database instead of getting a file of its own.
    "disk_min_file_size": 2**30,
    # With mmap, a page that the disk cannot read is a signal that kills the process.
    # Without, it is an error, and just as fast.
    "sqlite_mmap_size": 0,
    # FULL: an answer survives a power cut. At a few calls a second it costs nothing.
    "sqlite_synchronous": 2,
}


class _TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Read text alone: whatever a file holds, nothing is unpickled and no other file is opened."""

    def get(self, key: object, raw: bool) -> str:
        return key if raw and isinstance(key, str) else ""

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> str:
        return value if isinstance(value, str) else ""


def folder_in_use(root: Path) -> Path:
    """Return the folder of the file in use: the last repaired one, or else the root itself."""
    repaired = [
        (int(match[1]), path)
        for path in root.iterdir()
        if (match := REPAIRED.fullmatch(path.name)) and (path / FILE).exists()
    ]
    return max(repaired, default=(0, root))[1]


def open_cache(folder: Path) -> diskcache.Cache:
    """Open the file of a folder for reading and writing; create it if it does not exist.

    Raises:
        sqlite3.Error, OSError: it cannot be used.
    """
    if (folder / FILE).exists():
        # diskcache leaves a connection open when it fails on a file that is not a database.
        with closing(open_read_only(folder / FILE)) as probe:
            probe.execute("SELECT count(*) FROM sqlite_master")
    return diskcache.Cache(str(folder), disk=_TextDisk, **_SETTINGS)


def open_read_only(file: Path) -> sqlite3.Connection:
    """Open a file as plain SQLite, for reading; text may contain bytes that are not UTF-8."""
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def get_text(cache: diskcache.Cache, key: str) -> str | None:
    """Return the record of a key; None without one, "" if it is not text.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    try:
        text: str | None = cache.get(key)
    except sqlite3.OperationalError as error:
        if is_not_text(error):
            return ""
        raise
    return text


def is_not_text(error: BaseException) -> bool:
    """Return whether SQLite failed on text that is not UTF-8, for which it has no own error."""
    return isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error)
