"""An MMDB of the user, opened, checked and searched for many addresses at once.

What its records mean is told by who opens it; `mmdb_tree.py` searches the tree.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import maxminddb
import numpy as np

from mt_pipeline.enrichment.offline.mmdb_tree import NO_RECORD, Tree
from mt_pipeline.enrichment.provider import ProviderUnusable
from mt_pipeline.system.named_files import check_is_file

CHECKED_RECORDS = 1000
"""Records of a file to check before it counts as a file without what is needed."""

CACHED_RECORDS = 200_000

T = TypeVar("T")


class MmdbFile(Generic[T]):
    """The facts of the records of one file."""

    def __init__(
        self,
        path: Path,
        *,
        facts: Callable[[object], T | None],
        has_needed: Callable[[T], bool],
        needed: str,
        cure: str,
    ) -> None:
        """Open the file and check its first records.

        Args:
            path: the file.
            facts: return the facts of a record; None if it has none that are understood.
            has_needed: whether facts have what the file is opened for.
            needed: what that is, in the plural.
            cure: which file to name in which setting.

        Raises:
            ProviderUnusable: the file is missing, is not an MMDB, is damaged, or lacks the needed.
        """
        self._path = path
        self._facts = facts
        self._cure = cure
        self._cache: dict[int, T | None] = {}  # by record number
        try:
            check_is_file(path)
            self._reader = maxminddb.open_database(path)
        except OSError as error:
            raise ProviderUnusable(
                f"{path} cannot be read ({error.strerror or error}); {cure}"
            ) from None
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            raise ProviderUnusable(
                f"{path} is not an MMDB, or is truncated or damaged ({error}); "
                f"download it again, or {cure}"
            ) from None
        try:
            self._check(has_needed, needed)
        except ProviderUnusable:
            self.close()
            raise

    def _check(self, has_needed: Callable[[T], bool], needed: str) -> None:
        try:
            self._tree = Tree(self._path, self._reader.metadata())
            records = [record for _, record in islice(self._reader, CHECKED_RECORDS)]
        except (maxminddb.InvalidDatabaseError, ValueError, UnicodeError) as error:
            raise ProviderUnusable(
                f"{self._path} is truncated or damaged ({error}); "
                f"download it again, or {self._cure}"
            ) from None
        known = [facts for record in records if (facts := self._facts(record)) is not None]
        if not any(map(has_needed, known)):
            kind = self._reader.metadata().database_type
            raise ProviderUnusable(
                f"{self._path} has no {needed}, it is of the type {kind!r}; {self._cure}"
            )

    def look_up(self, addresses: Sequence[str]) -> list[T | None]:
        """Return the facts of each address."""
        numbers, firsts, indices = np.unique(
            self._tree.records(addresses), return_index=True, return_inverse=True
        )
        if len(self._cache) > CACHED_RECORDS:
            self._cache.clear()
        facts = [
            self._record_facts(number, addresses[first])
            for number, first in zip(numbers.tolist(), firsts.tolist(), strict=True)
        ]
        return [facts[index] for index in indices.tolist()]

    def _record_facts(self, number: int, address: str) -> T | None:
        """Return the facts of a record, which is read once by any of its addresses."""
        if number != NO_RECORD and number not in self._cache:
            self._cache[number] = self._facts(self._reader.get(address))
        return self._cache.get(number)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
