"""The file of the store: text by key, in a diskcache that any number of processes share. What the text says is in `history.py`.

One process at a time writes, behind a file lock. A file that is damaged is noticed, mended (`mending.py`), and the work goes on with the new one;
processes that have the old one open find the new one before they write, or when they meet the damage. A mended file gets a folder of its own: so the
change is one rename, whenever the process is killed, and the log that SQLite keeps beside a file, by its name, is never taken for that of another.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import diskcache
from filelock import FileLock
from filelock import Timeout as LockTimeout

from mt_pipeline.enrichment.answers import repair
from mt_pipeline.enrichment.answers.history import Texts
from mt_pipeline.enrichment.provider import EnrichmentError

logger = logging.getLogger(__name__)

LONGEST_WRITE = 1800
"""Seconds to wait for whoever writes: mending a store of millions of answers, or giving its disk back, takes minutes."""

ROWS_AT_ONCE = 10_000

_DAMAGED = sqlite3.DatabaseError
"""What sqlite3 raises for a malformed file, and for one that is none; its subclasses are other troubles."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class _Open:
    """The file that is open: diskcache to write, a connection to read whole batches."""

    cache: diskcache.Cache
    reader: sqlite3.Connection


class StoreError(EnrichmentError):
    """The store of answers cannot be used; the message names the file and the cure."""


class Records:
    """The records of one store. An object is used by one thread."""

    def __init__(self, root: Path) -> None:
        """Open the file; it is made if it is not there.

        Args:
            root: folder of the store.

        Raises:
            StoreError: it cannot be used.
        """
        self._root = root
        self._folder = root
        self._open: _Open | None = None
        with self._errors():
            root.mkdir(parents=True, exist_ok=True)
        self._writing = FileLock(root / "write.lock", timeout=LONGEST_WRITE, poll_interval=0.01)
        self.follow()

    @property
    def file(self) -> Path:
        """The file that is in use."""
        return self._folder / repair.FILE

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):  # what is committed is on disk
            if self._open is not None:
                self._open.reader.close()
                self._open.cache.close()
        self._open = None

    def follow(self) -> None:
        """Open the file, or another one if that was mended by another process.

        Raises:
            StoreError: it cannot be used.
        """
        self._safely(self._follow)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep all others from writing.

        Raises:
            StoreError: somebody writes for too long, or nobody may.
        """
        with self._errors():
            self._writing.acquire()
        try:
            yield
        finally:
            self._writing.release()

    def read(self, keys: Sequence[str]) -> Texts:
        """Return the records of those keys that have one.

        Raises:
            StoreError: they cannot be read.
        """
        return self._safely(partial(self._selected, keys))

    def change(self, keys: Sequence[str], changed: Callable[[Texts], Texts]) -> None:
        """Write records that depend on what is there; they are on disk when this returns, all of them or none.

        Args:
            keys: of the records that matter, as many as may be changed at once.
            changed: given those that are there, returns those to write, by key.

        Raises:
            StoreError: they cannot be written.
        """

        def change() -> None:
            with self.writing():
                cache = self._follow().cache
                records = changed(self._selected(keys))
                with cache.transact():
                    for key, text in records.items():
                        cache.set(key, text)

        self._safely(change)

    def everything(self) -> Iterator[tuple[str, str]]:
        """Yield each key with its record, in no order; what others write meanwhile may or may not be among them.

        Raises:
            StoreError: they cannot be read.
        """
        folder, last = self._folder, 0
        while rows := self._safely(partial(self._rows_after, last)):
            if last == 0:
                folder = self._folder
            if self._folder != folder:
                raise StoreError(
                    f"{folder / repair.FILE} was mended while it was read; say the command again"
                )
            yield from ((key, text) for _, key, text in rows)
            last = rows[-1][0]

    def shrink(self) -> None:
        """Give the disk back that deleted text took.

        Raises:
            StoreError: it cannot be done, for example for lack of room: it takes as much again for a while.
        """

        def shrink() -> None:
            with (
                self.writing(),
                closing(sqlite3.connect(self.file, timeout=60, isolation_level=None)) as connection,
            ):
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._safely(shrink)

    def _selected(self, keys: Sequence[str]) -> Texts:
        return repair.selected((self._open or self._follow()).reader, keys)

    def _rows_after(self, rowid: int) -> list[tuple[int, str, str]]:
        reader = (self._open or self._follow()).reader
        query = "SELECT rowid, key, value FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?"
        return [
            (number, repair.text_of(key), repair.text_of(value))
            for number, key, value in reader.execute(query, (rowid, ROWS_AT_ONCE))
        ]

    def _safely(self, work: Callable[[], Found]) -> Found:
        """Do some work on the file; if that is damaged, once more on what could be saved of it."""
        with self._errors():
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if type(damage := _first(error)) is not _DAMAGED:
                    raise
            self._mend(str(damage))
            return work()

    def _mend(self, reason: str) -> None:
        damaged = self.file
        self.close()
        with self.writing():
            if repair.folder_in_use(self._root) == self._folder:  # nobody did it while we waited
                logger.warning(
                    "%s: the store of answers is damaged (%s); what can still be read is taken over into a new one",
                    damaged,
                    reason,
                )
                aside, kept = repair.mend(self._root, self._folder)
                new = repair.folder_in_use(self._root) / repair.FILE
                logger.warning(
                    "%s answers were taken over into %s; the damaged file lies in %s now",
                    f"{kept:,}",
                    new,
                    aside,
                )
            self._follow()

    def _follow(self) -> "_Open":
        if self._open is None or repair.folder_in_use(self._root) != self._folder:
            self.close()
            with self.writing():  # opening writes, too
                self._folder = repair.folder_in_use(self._root)
                self._open = _Open(repair.opened(self._folder), repair.reader(self.file))
        return self._open

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except LockTimeout as error:
            minutes = LONGEST_WRITE // 60
            raise StoreError(
                f"{error.lock_file}: another process writes to the store of answers for {minutes} minutes; end it and run again"
            ) from None
        except (sqlite3.OperationalError, diskcache.Timeout, OSError) as error:
            reason = str(_first(error)) or "locked by another process"
            raise StoreError(
                f"{self.file}: the store of answers cannot be used ({reason}); make room or set the permissions right"
            ) from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.file}: the store of answers is damaged and could not be mended ({error}); end all runs, move its folder aside and run again: "
                "all is asked anew"
            ) from None


def _first(error: BaseException) -> BaseException:
    """Return what went wrong first: after some errors nothing is left to roll back, and diskcache raises that instead."""
    while isinstance(error.__context__, sqlite3.Error):
        error = error.__context__
    return error
