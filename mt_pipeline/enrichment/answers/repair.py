"""The files below the folder of a store: which one is in use, how it is opened, and what becomes of a damaged one.

A damaged file is only read: whatever can be read goes into a new one, and its own files are moved aside. Who may do so, and when, is said in
`records.py`.
"""

import mmap
import re
import shutil
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import count, islice
from json import JSONDecoder
from pathlib import Path

import diskcache

from mt_pipeline.enrichment.answers import history
from mt_pipeline.enrichment.answers.history import Texts

FILE: str = diskcache.core.DBNAME

_SETTINGS = {
    "eviction_policy": "none",  # diskcache's default deletes what was stored first, at 1 GiB: these answers were paid for
    "cull_limit": 0,
    "size_limit": 2**62,
    "disk_min_file_size": 2**30,  # a long history stays in the file, with all the others
    "sqlite_mmap_size": 0,  # what the disk cannot read is an error then, not a signal that kills the run; it is no slower
    "sqlite_synchronous": 2,  # FULL: an answer survives a power cut; at a few calls a second it costs nothing
}

_MENDED = re.compile(r"mended-(\d+)")
_RECORD = re.compile(rb'\{"kind": "')
_PAGE = 4096
_SMALLEST_ROW = 64
_AT_ONCE = 1000
_KEYS_AT_ONCE = 500


def folder_in_use(root: Path) -> Path:
    """Return the folder of the file that is in use: the one that was mended last, or else that of the store itself."""
    mended = [
        (int(match[1]), path)
        for path in root.iterdir()
        if (match := _MENDED.fullmatch(path.name)) and (path / FILE).exists()
    ]
    return max(mended, default=(0, root))[1]


def opened(folder: Path) -> diskcache.Cache:
    """Open the file of a folder, to write; it is made if it is not there."""
    if (folder / FILE).exists():
        with closing(
            reader(folder / FILE)
        ) as probe:  # diskcache would leave a connection open when it finds garbage
            probe.execute("SELECT count(*) FROM sqlite_master")
    return diskcache.Cache(str(folder), **_SETTINGS)


def reader(file: Path) -> sqlite3.Connection:
    """Open a file to read whole batches; text that is no UTF-8 is read as well as it can be."""
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def selected(connection: sqlite3.Connection, keys: Sequence[str]) -> Texts:
    """Read the records of those keys that have one."""
    found: dict[str, str] = {}
    for first in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[first : first + _KEYS_AT_ONCE]
        query = (
            f"SELECT key, value FROM Cache WHERE raw = 1 AND key IN ({', '.join('?' * len(some))})"
        )
        found.update((key, text_of(value)) for key, value in connection.execute(query, some))
    return found


def text_of(value: object) -> str:
    """Return a text of the file; anything else is no record of ours, and reads like one that is broken."""
    return value if isinstance(value, str) else ""


def mend(root: Path, damaged: Path) -> tuple[Path, int]:
    """Make a new file of what can still be read, and move the damaged one aside. Nobody else may write meanwhile.

    Args:
        root: folder of the store.
        damaged: the folder in use.

    Returns:
        Where the damaged file lies now, and how many records were taken over.

    Raises:
        OSError, sqlite3.Error: there is no room, or no permission; the damaged file is where it was.
    """
    number = int(match[1]) if (match := _MENDED.fullmatch(damaged.name)) and damaged != root else 0
    fresh = root / f"mended-{number + 1}"
    part = root / f".{fresh.name}.part"
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed at it
    kept = _taken_over(damaged / FILE, part)
    aside = _aside(root)
    part.rename(fresh)  # from here on it is the file in use
    for path in [damaged / f"{FILE}{end}" for end in ("", "-wal", "-shm")]:
        if path.exists():
            path.rename(aside / path.name)
    if damaged != root:
        with suppress(OSError):
            damaged.rmdir()
    return aside, kept


def rescued(file: Path) -> Iterator[str]:
    """Yield the records that can still be read: row by row, and if some cannot, whatever looks like one in the bytes of the files."""
    complete = False
    with suppress(sqlite3.Error), closing(reader(file)) as connection:
        complete = yield from _rows(connection, file.stat().st_size // _SMALLEST_ROW)
    if not complete:
        for part in (file, file.with_name(f"{file.name}-wal")):
            if part.exists() and part.stat().st_size:
                yield from _in_bytes(part)


def _aside(root: Path) -> Path:
    name = f"{root.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (root.with_name(name if again == 0 else f"{name}-{again}") for again in count())
    aside = next(path for path in names if not path.exists())
    aside.mkdir()
    return aside


def _taken_over(damaged: Path, folder: Path) -> int:
    texts = rescued(damaged)
    with closing(opened(folder)) as cache, closing(reader(folder / FILE)) as written:
        while some := list(islice(texts, _AT_ONCE)):
            known = [(one, text) for text in some if (one := history.read(text))]
            before = selected(written, [one.key for one, _ in known])
            with cache.transact():
                # Most of what is found in the bytes was found by rows, too.
                for key, text in history.taken_in(
                    before, (one for one, text in known if before.get(one.key) != text)
                ).items():
                    cache.set(key, text)
        return len(cache)


def _rows(connection: sqlite3.Connection, most: int) -> Generator[str, None, bool]:
    """Yield the values of all rows that SQLite can reach; returns whether it could reach all."""
    connection.execute(
        "PRAGMA writable_schema = ON"
    )  # a file that is shorter than it says is then read as far as it goes
    complete = True
    try:
        [(last,)] = connection.execute("SELECT coalesce(max(rowid), 0) FROM Cache")
    except sqlite3.DatabaseError:
        complete, last = False, most
    for first in range(1, min(last, most) + 1, _AT_ONCE):
        try:
            yield from _values(connection, first, first + _AT_ONCE - 1)
        except sqlite3.DatabaseError:
            complete = False
            for number in range(first, first + _AT_ONCE):
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
