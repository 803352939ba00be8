"""The database of the store: text by key, in a diskcache that any number of processes share.

What the text means is in `history.py`.

One process at a time writes, behind a file lock. A process that meets a damaged file repairs it
(`repair.py`) and goes on with the new one. Processes that have the old file open move to the new
one before they write, or when they meet the damage. A repaired file gets a folder of its own: the
change is then one rename, whenever the process is killed, and SQLite, which finds the log of a
file by its name, never takes the log of another one.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import diskcache
from filelock import FileLock
from filelock import Timeout as LockTimeout

from mt_pipeline.enrichment.answers import repair, usage
from mt_pipeline.enrichment.answers.files import (
    FILE,
    folder_in_use,
    get_text,
    is_not_text,
    open_cache,
)
from mt_pipeline.enrichment.answers.history import Texts
from mt_pipeline.enrichment.answers.records import BATCH, StoreError
from mt_pipeline.enrichment.answers.usage import Tally

logger = logging.getLogger(__name__)

LONGEST_WRITE = 1800
"""Seconds to wait for another writer. A repair, or VACUUM, of millions of answers takes minutes."""

Result = TypeVar("Result")


class FileRecords:
    """The records of one store, in a file. An object is used by one thread; see `records.py`."""

    def __init__(self, root: Path) -> None:
        """Open the database; create it if it does not exist.

        Args:
            root: folder of the store.

        Raises:
            StoreError: it cannot be used.
        """
        self._root = root
        self._folder = root
        self._cache: diskcache.Cache | None = None
        with self._errors():
            root.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(root / "write.lock", timeout=LONGEST_WRITE, poll_interval=0.01)
        self.reopen()

    @property
    def file(self) -> Path:
        """The file in use."""
        return self._folder / FILE

    def __str__(self) -> str:
        return str(self._root)

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):  # what is committed is on disk
            if self._cache is not None:
                self._cache.close()
        self._cache = None

    def reopen(self) -> None:
        """Open the file in use if it is not open, for example because another process repaired it.

        Raises:
            StoreError: it cannot be used.
        """
        self._with_repair(self._in_use)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep all other processes from writing.

        Raises:
            StoreError: another process writes for too long, or the lock cannot be used.
        """
        with self._errors():
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def read(self, keys: Sequence[str]) -> Texts:
        """See `Records.read`."""
        return self._with_repair(partial(self._read, keys))

    def change(self, keys: Sequence[str], changed: Callable[[Texts], Texts]) -> None:
        """See `Records.change`."""

        def change() -> None:
            with self.writing():
                cache = self._in_use()
                records = changed(self._read(keys))
                with cache.transact():
                    for key, text in records.items():
                        cache.set(key, text)

        self._with_repair(change)

    def fill(self, records: Iterable[tuple[str, str]]) -> None:
        """Write records, all of them or none.

        Raises:
            StoreError: they cannot be written.
        """
        with self.writing(), self._errors():
            cache = self._in_use()
            with cache.transact():
                for key, text in records:
                    cache.set(key, text)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield each key with its record, in no order, with or without what others write meanwhile.

        Raises:
            StoreError: they cannot be read.
        """
        folder, first = self._folder, True
        keys: Iterator[str] = iter(())

        def batch() -> list[tuple[str, str]]:
            nonlocal folder, keys
            cache = self._cache or self._in_use()
            if first:
                folder, keys = self._folder, iter(cache)
            elif self._folder != folder:
                raise StoreError(f"{folder / FILE} was repaired while it was read; run again")
            return [(key, get_text(cache, key) or "") for key in islice(keys, BATCH)]

        while rows := self._with_repair(batch):
            first = False
            yield from rows

    def shrink(self) -> None:
        """Return the disk space of deleted text to the system.

        Raises:
            StoreError: it fails, for example because the disk lacks room for a second copy.
        """

        def shrink() -> None:
            with (
                self.writing(),
                closing(sqlite3.connect(self.file, timeout=60, isolation_level=None)) as connection,
            ):
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._with_repair(shrink)

    def size(self) -> int:
        """Return the bytes of the file in use and its log."""
        return sum(path.stat().st_size for path in self._folder.glob(f"{FILE}*"))

    def add_usage(self, news: Mapping[str, Tally]) -> None:
        """See `Records.add_usage`."""
        with self.writing(), self._errors():
            usage.add(self._root, news)

    def usage(self) -> dict[str, Tally]:
        """See `Records.usage`."""
        return usage.read(self._root)

    def _read(self, keys: Sequence[str]) -> Texts:
        cache = self._cache or self._in_use()
        texts = ((key, get_text(cache, key)) for key in keys)
        return {key: text for key, text in texts if text is not None}

    def _with_repair(self, work: Callable[[], Result]) -> Result:
        """Do some work on the file; if the file is damaged, repair it and do the work again."""
        with self._errors():
            try:
                return work()
            except sqlite3.DatabaseError as error:
                damage = _first(error)
                # sqlite3 raises its subclasses for other problems: no room, no permission.
                if type(damage) is not sqlite3.DatabaseError and not is_not_text(damage):
                    raise
            self._repair(str(damage))
            return work()

    def _repair(self, reason: str) -> None:
        damaged = self.file
        self.close()
        with self.writing():
            if folder_in_use(self._root) == self._folder:  # no other process was faster
                logger.warning(
                    "%s: the store of answers is damaged (%s); "
                    "what can still be read is taken over into a new one",
                    damaged,
                    reason,
                )
                aside, count = repair.repair(self._root, self._folder)
                logger.warning(
                    "%s answers were taken over into %s; the damaged file lies in %s now",
                    f"{count:,}",
                    folder_in_use(self._root) / FILE,
                    aside,
                )
            self._in_use()

    def _in_use(self) -> diskcache.Cache:
        if self._cache is None or folder_in_use(self._root) != self._folder:
            self.close()
            with self.writing():  # opening writes, too
                self._folder = folder_in_use(self._root)
                self._cache = open_cache(self._folder)
        return self._cache

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except LockTimeout as error:
            raise StoreError(
                f"{error.lock_file}: another process has been writing to the store of answers for "
                f"{LONGEST_WRITE // 60} minutes; end it and run again"
            ) from None
        except (sqlite3.OperationalError, diskcache.Timeout, OSError) as error:
            reason = str(_first(error)) or "locked by another process"
            raise StoreError(
                f"{self.file}: the store of answers cannot be used ({reason}); "
                "make room or set the permissions right"
            ) from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.file}: the store of answers is damaged and cannot be repaired ({error}); "
                "end all runs, move its folder aside and run again: every question is asked anew"
            ) from None


def _first(error: BaseException) -> BaseException:
    """Return the cause: after some errors diskcache's rollback fails, and hides it."""
    while isinstance(error.__context__, sqlite3.Error):
        error = error.__context__
    return error
