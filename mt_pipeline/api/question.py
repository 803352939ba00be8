"""A question about the rows of an experiment, and what answers it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from mt_pipeline.api.columns import has_unknown, schema_of
from mt_pipeline.api.ranking import Ranking
from mt_pipeline.api.where import Where
from mt_pipeline.errors import CommandError
from mt_pipeline.schema.packets import UNKNOWN
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

SUMS = {
    PACKETS.name: ("count(*)", "sum(frame_len)"),
    FLOWS.name: ("sum(packets_out + packets_in)", "sum(bytes_out + bytes_in)"),
}
"""SQL that counts packets, and bytes on the wire, of rows of a table."""


class RowsChangedError(CommandError):
    """The rows of an experiment changed while they were read."""


@dataclass(frozen=True)
class Question:
    """What somebody wants to know.

    Attributes:
        table: PACKETS or FLOWS.
        experiment: its folded name.
        columns: names of the columns, of the table.
        where: with values as `values.check` returns them; None for all rows.
        since: the earliest time, naive UTC.
        until: the time before which the rows are.
    """

    table: Table
    experiment: str
    columns: tuple[str, ...]
    where: Where | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def schema(self) -> pa.Schema:
        """The schema of its answer."""
        return schema_of(self.table, self.columns)

    @property
    def read(self) -> tuple[str, ...]:
        """The columns to read: those of the answer, and those by which it is sorted."""
        return tuple(dict.fromkeys((*self.columns, *self.order)))

    @property
    def order(self) -> tuple[str, ...]:
        """The columns by which the answer is sorted: time, capture, number within the capture."""
        return self.table.keys


@dataclass(frozen=True)
class Sum:
    """Packets, and bytes on the wire."""

    packets: int = 0
    bytes: int = 0


Found = tuple[str | int | None, int | None, int | None]
"""A value, its packets and its bytes, as a database returns them."""


def merged(question: Question, by: str, found: Iterable[Found]) -> Mapping[str | int | None, Sum]:
    """Return sums by value; `Unknown` and NULL become one, without a value."""
    unknown = UNKNOWN if has_unknown(question.table, by) else None
    sums: dict[str | int | None, Sum] = {}
    for value, packets, length in found:
        key = None if value == unknown else value
        before = sums.get(key, Sum())
        sums[key] = Sum(before.packets + int(packets or 0), before.bytes + int(length or 0))
    return sums


class Source(Protocol):
    """A back end that answers questions. Every source gives the same answers."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def rows(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches, in their order, with the schema of the question."""
        ...

    def first(self, question: Question, by: str, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the first rows in the order of a column, whose values differ."""
        ...

    def distinct(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield rows that differ in some column of the question, each once, in any order."""
        ...

    def sums(self, question: Question, by: str) -> Mapping[str | int | None, Sum]:
        """Sum up packets and bytes by the values of a column; NULL and `Unknown` are None."""
        ...

    def top(self, question: Question, ranking: Ranking) -> pa.Table:
        """Sum up flows by the values of some columns, with the schema of the ranking."""
        ...

    def counts(self, question: Question) -> Mapping[str, int]:
        """Count the rows by capture."""
        ...
