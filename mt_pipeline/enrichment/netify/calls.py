"""Where calls are counted and their rate is limited, for all processes: in SQLite or in Postgres.

What is counted is `budget.py`, how fast calls go is `rate_limit.py`.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mt_pipeline.state.postgres import Execute, Postgres

if TYPE_CHECKING:
    from mt_pipeline.state.tables import Tables

NAME = "the numbers of calls"
"""What they are called in Postgres."""

LONGEST_LOCK = 60
"""Seconds to wait for other processes, each of which takes milliseconds."""


class Unusable(Exception):
    """The file cannot be read or written; the message says why."""


class Damaged(Unusable):
    """The file is damaged."""


class Calls(Protocol):
    """Numbers about calls. As text it is the name of their place, for people."""

    def is_empty(self) -> bool:
        """Return whether nothing was ever stored, without creating anything."""

    def transaction(self, *, writes: bool = True) -> AbstractContextManager[Execute]:
        """Yield what runs statements, all of which count or none.

        Args:
            writes: keep all other processes from writing.

        Raises:
            Unusable: the file cannot be read or written.
            StateError: Postgres does not answer.
        """


def opened(place: Path | Postgres, *tables: str) -> Calls:
    """Return the numbers of a place; nothing is created yet.

    Args:
        place: a SQLite file, or Postgres.
        tables: statements that create the tables, those that exist excepted.
    """
    if isinstance(place, Path):
        return _SqliteCalls(place, tables)
    from mt_pipeline.state.tables import Tables

    return _PostgresCalls(Tables(place, NAME, tables))


@dataclass(frozen=True)
class _SqliteCalls:
    path: Path
    tables: Sequence[str]

    def __str__(self) -> str:
        return str(self.path)

    def is_empty(self) -> bool:
        return not self.path.exists()

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Execute]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self.path, timeout=LONGEST_LOCK, isolation_level=None)
            ) as file:
                file.execute("PRAGMA synchronous = FULL")  # the count survives a power cut
                for table in self.tables:
                    file.execute(table)
                if writes:
                    file.execute("BEGIN IMMEDIATE")  # others wait here
                yield lambda statement, *values: file.execute(statement, values).fetchall()
                if writes:
                    file.execute("COMMIT")
        except (sqlite3.OperationalError, OSError) as error:
            raise Unusable(str(error)) from None
        except sqlite3.DatabaseError as error:
            raise Damaged(str(error)) from None


@dataclass(frozen=True)
class _PostgresCalls:
    kept: "Tables"

    def __str__(self) -> str:
        return str(self.kept)

    def is_empty(self) -> bool:
        return False

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Execute]:
        with self.kept.transaction(writes=writes) as execute:
            yield execute
