"""The parts of a state, each a table of rows, and what a place of them can do."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Protocol, TypeAlias

import sqlalchemy as sa

from mt_pipeline.enrichment.answers import history
from mt_pipeline.errors import CommandError

BATCH = 1000
"""Rows that are written at once."""

Row: TypeAlias = tuple[object, ...]
"""The values of a row, the same in each place: numbers, text, None, objects of JSON."""

Progress: TypeAlias = Callable[[str, int], None]
"""Receives what is moved, and how many rows of it so far."""


class MoveError(CommandError):
    """The state cannot be moved; the message says why, and what to do."""


class Part(StrEnum):
    """The parts, by what people call them, in the order in which they are moved.

    The captures come last: without them a folder has no state yet.
    """

    ANSWERS = "answers"
    USAGE = "numbers of look-ups"
    DAYS = "days of counted calls"
    RUNS = "runs of counted calls"
    PAUSES = "pauses between calls"
    CAPTURES = "captures"


CALLS = {
    Part.DAYS: ("days", ("provider", "day", "calls")),
    Part.RUNS: ("runs", ("provider", "run", "day", "calls")),
    Part.PAUSES: ("hold", ("one", "since", "until")),
}
"""The small tables about calls, which are the same in SQLite and Postgres: names, columns."""


class Place(Protocol):
    """A state that nobody else changes while it is open. As text it is its name, for people."""

    @property
    def cure(self) -> str:
        """What to do if something else is there."""

    def rows(self, part: Part) -> Iterator[Row]:
        """Yield the rows of a part, in any order."""

    def fill(self, part: Part, rows: Iterator[Row]) -> None:
        """Write the rows of a part that has none."""


@dataclass
class Sum:
    """What rows add up to. Equal sums are of the same rows, whatever their order.

    Attributes:
        count: their number.
        digest: the sum of their hashes.
    """

    count: int = 0
    digest: int = 0

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield rows, and add them."""
        for row in rows:
            text = json.dumps(row, sort_keys=True).encode()
            self.digest += int.from_bytes(hashlib.sha256(text).digest())
            self.count += 1
            yield row


def insert(db: sa.Connection, table: sa.TableClause, rows: Iterator[Row]) -> None:
    """Write rows, whose values are in the order of the columns of a table."""
    names = table.columns.keys()
    while batch := [dict(zip(names, row, strict=True)) for row in islice(rows, BATCH)]:
        db.execute(sa.insert(table), batch)


def sum_of(rows: Iterable[Row]) -> Sum:
    """Return what rows add up to."""
    total = Sum()
    for _ in total.passing(rows):
        pass
    return total


def readable(records: Iterable[tuple[str, str]]) -> Iterator[Row]:
    """Yield the answers that can be read; the others would be asked anew wherever they are."""
    return (record for record in records if history.read(record[1], record[0]))
