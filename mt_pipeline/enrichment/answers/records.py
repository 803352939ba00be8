"""What the store of answers needs of the place where its records are: text by key.

They lie in a diskcache (`database.py`) or in Postgres (`postgres_records.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from mt_pipeline.enrichment.answers.history import Texts
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.provider import EnrichmentError

BATCH = 10_000
"""Records that are read at once."""


class StoreError(EnrichmentError):
    """The store of answers cannot be used; the message names the file and the cure."""


class Records(Protocol):
    """The records of one store, text by key. An object is used by one thread.

    As text it is the name of their place, for people.

    Raises:
        StoreError: in each operation, if they cannot be used.
    """

    def close(self) -> None:
        """Close the records."""

    def reopen(self) -> None:
        """See what other processes did meanwhile."""

    def read(self, keys: Sequence[str]) -> Texts:
        """Return the records of those keys that have one."""

    def change(self, keys: Sequence[str], changed: Callable[[Texts], Texts]) -> None:
        """Write records that depend on stored ones: on disk at return, all of them or none.

        Args:
            keys: keys of the records that matter, as many as may be changed at once.
            changed: gets the stored records, returns those to write, by key.
        """

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield each key with its record, in no order.

        What others write meanwhile may be among them, or not.
        """

    def shrink(self) -> None:
        """Return the disk space of deleted text to the system."""

    def size(self) -> int:
        """Return the bytes that they take."""

    def add_usage(self, news: Mapping[str, Tally]) -> None:
        """Add look-ups to the totals of all processes, by provider."""

    def usage(self) -> dict[str, Tally]:
        """Return the look-ups of all processes, by provider."""
