"""What can still be read of a damaged file, and the new file that is made of it.

A damaged file is only read, as plain SQLite and as bytes: diskcache cannot open it. What can be
read goes into a new file, and the damaged one is moved aside. Who repairs, and when, is in
`database.py`.
"""

import mmap
import re
import shutil
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import count, islice
from json import JSONDecoder
from pathlib import Path

from mt_pipeline.enrichment.answers import history
from mt_pipeline.enrichment.answers.files import (
    FILE,
    REPAIRED,
    get_text,
    open_cache,
    open_read_only,
)

_RECORD = re.compile(rb'\{"kind": "')
_PAGE = 4096
_SMALLEST_ROW = 64
_BATCH = 1000


def repair(root: Path, damaged: Path) -> tuple[Path, int]:
    """Make a new file of what can still be read, and move the damaged one aside.

    No other process may write meanwhile.

    Args:
        root: folder of the store.
        damaged: the folder in use.

    Returns:
        Where the damaged file lies now, and how many records were taken over.

    Raises:
        OSError, sqlite3.Error: no room, or no permission; the damaged file is where it was.
    """
    number = int(match[1]) if (match := REPAIRED.fullmatch(damaged.name)) and damaged != root else 0
    repaired = root / f"mended-{number + 1}"
    part = root / f".{repaired.name}.part"
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed during a repair
    taken_over = _take_over(damaged / FILE, part)
    aside = _make_folder_aside(root)
    part.rename(repaired)  # from here on it is the file in use
    for path in [damaged / f"{FILE}{end}" for end in ("", "-wal", "-shm")]:
        if path.exists():
            path.rename(aside / path.name)
    if damaged != root:
        with suppress(OSError):
            damaged.rmdir()
    return aside, taken_over


def faults(file: Path) -> Iterator[str]:
    """Yield what is wrong with a file and its records, a few words each; write nothing.

    Raises:
        sqlite3.Error, OSError: it cannot be read at all.
    """
    with closing(open_read_only(file)) as connection:
        for (text,) in connection.execute("PRAGMA integrity_check"):
            if text != "ok":
                yield text
        for key, text in connection.execute("SELECT key, value FROM Cache"):
            if history.read(text if isinstance(text, str) else "", key) is None:
                yield f"the record {key!r} cannot be read; its endpoint will be asked about anew"


def readable(file: Path) -> Iterator[str]:
    """Yield the records that can still be read, some of them twice.

    Read row by row first. If some rows cannot be reached, look for records in the bytes.
    """
    complete = False
    with suppress(sqlite3.Error), closing(open_read_only(file)) as connection:
        complete = yield from _rows(connection, file.stat().st_size // _SMALLEST_ROW)
    if not complete:
        for part in (file, file.with_name(f"{file.name}-wal")):
            if part.exists() and part.stat().st_size:
                yield from _in_bytes(part)


def _make_folder_aside(root: Path) -> Path:
    name = f"{root.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (root.with_name(name if again == 0 else f"{name}-{again}") for again in count())
    aside = next(path for path in names if not path.exists())
    aside.mkdir()
    return aside


def _take_over(damaged: Path, folder: Path) -> int:
    texts = readable(damaged)
    with closing(open_cache(folder)) as cache:
        while batch := list(islice(texts, _BATCH)):
            with cache.transact():
                for text in batch:
                    new = history.read(text)
                    if new is None:
                        continue
                    stored = get_text(cache, new.key)
                    # Most records in the bytes were already read row by row.
                    if stored != text:
                        before = {} if stored is None else {new.key: stored}
                        for key, merged in history.merged_records(before, [new]).items():
                            cache.set(key, merged)
        return len(cache)


def _rows(connection: sqlite3.Connection, most: int) -> Generator[str, None, bool]:
    """Yield the values of all rows that SQLite can reach; return whether it reached all."""
    # With this, a file that is shorter than its header says is read as far as it goes.
    connection.execute("PRAGMA writable_schema = ON")
    complete = True
    try:
        [(last,)] = connection.execute("SELECT coalesce(max(rowid), 0) FROM Cache")
    except sqlite3.DatabaseError:
        complete, last = False, most
    for first in range(1, min(last, most) + 1, _BATCH):
        try:
            yield from _values(connection, first, first + _BATCH - 1)
        except sqlite3.DatabaseError:
            complete = False
            for number in range(first, first + _BATCH):
                with suppress(sqlite3.DatabaseError):
                    yield from _values(connection, number, number)
    return complete


def _values(connection: sqlite3.Connection, first: int, last: int) -> list[str]:
    rows = connection.execute(
        "SELECT value FROM Cache WHERE rowid BETWEEN ? AND ?", (first, last)
    ).fetchall()
    return [value for (value,) in rows if isinstance(value, str)]


def _in_bytes(file: Path) -> Iterator[str]:
    """Yield the records that lie in one piece in a file, as all but the longest do."""
    decoder = JSONDecoder()
    with (
        file.open("rb") as opened_file,
        mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for match in _RECORD.finditer(content):
            text = content[match.start() : match.start() + _PAGE].decode(errors="replace")
            with suppress(ValueError, RecursionError):
                yield text[: decoder.raw_decode(text)[1]]
