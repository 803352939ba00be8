"""Sums of flows by the values of some columns: what can be asked, and the SQL for both sources."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from mt_pipeline.api.columns import TIME, check_column, schema_of
from mt_pipeline.api.where import WhereError
from mt_pipeline.schema.tables import FLOWS
from mt_pipeline.system.nearest import did_you_mean

MEASURES = {
    "packets": "sum(packets_out + packets_in)",
    "bytes": "sum(bytes_out + bytes_in)",
    "bytes_out": "sum(bytes_out)",
    "bytes_in": "sum(bytes_in)",
}
"""What is summed up, each with its SQL."""

_TIMES = {"first": "min(first_ts)", "last": "max(last_ts)"}
_COUNT = "distinct"
_MOST_COLUMNS = 3
_NO_VALUES = ("TIMESTAMP", "DOUBLE")


@dataclass(frozen=True)
class Ranking:
    """What is summed up by what.

    Attributes:
        by: columns of flows whose values are told apart, one to three.
        sort: the measure by which values are sorted, or `distinct`.
        distinct: a column whose values are counted; None for no count.
        most: how many values.
    """

    by: tuple[str, ...]
    sort: str
    distinct: str | None
    most: int

    @property
    def schema(self) -> pa.Schema:
        """Columns `by`, the measures, the time of the first and the last packet, the count."""
        sums = pa.schema([(name, pa.int64()) for name in MEASURES])
        times = pa.schema([(name, TIME) for name in _TIMES])
        count = pa.schema([(_COUNT, pa.int64())] if self.distinct else [])
        return pa.unify_schemas([schema_of(FLOWS, self.by), sums, times, count])

    @property
    def order(self) -> str:
        """SQL that sorts, by the places of columns; equal ones by their values."""
        place = self.schema.get_field_index(self.sort) + 1
        return ", ".join([f"{place} DESC", *(str(each + 1) for each in range(len(self.by)))])

    def table(self, rows: Iterable[tuple[object, ...]]) -> pa.Table:
        """Return what a database found, with the schema."""
        names = self.schema.names
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return pa.Table.from_pylist(found, schema=self.schema)

    def aggregates(self, count: str) -> str:
        """Return SQL of what follows the columns `by`.

        Args:
            count: SQL that counts the values of a column, `{}`.
        """
        counts = [count.format(f'"{self.distinct}"')] if self.distinct else []
        return ", ".join([*MEASURES.values(), *_TIMES.values(), *counts])


def checked(by: tuple[str, ...], *, sort: str, distinct: str | None, most: int) -> Ranking:
    """Return a ranking that can be asked.

    Raises:
        WhereError: a column or a measure does not exist, or has no values to tell apart.
    """
    columns = tuple(dict.fromkeys(by))
    if not 1 <= len(columns) <= _MOST_COLUMNS:
        raise WhereError(f"name one to {_MOST_COLUMNS} columns to sum up by")
    for name in (*columns, *([distinct] if distinct else [])):
        check_column(FLOWS, name)
        if FLOWS.columns[name] in _NO_VALUES:
            raise WhereError(f"{name} is a time or a measure: name a column with values")
    known = (*MEASURES, *([_COUNT] if distinct else []))
    if sort not in known:
        hint = did_you_mean(sort, known) or ";"
        raise WhereError(f"nothing is sorted by {sort!r}{hint} it can be {', '.join(known)}")
    return Ranking(columns, sort, distinct, most)
