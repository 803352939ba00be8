"""Compares two experiments: what is new, gone, more or less, dimension by dimension."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mt_pipeline.api.question import Question, Source, Sum
from mt_pipeline.api.rows import Rows

DIMENSIONS = {
    "application": "app_tag",
    "category": "app_category_tag",
    "server name": "tls_sni",
    "remote name": "remote_name",
    "domain": "remote_domain",
    "organisation": "remote_organisation",
    "party": "remote_party",
    "tracker": "remote_tracker",
    "country": "geo_country",
    "device": "device_local",
    "direction": "direction",
    "protocol": "protocol",
    "transport": "ip_proto",
    "remote address": "remote",
    "remote port": "port_remote",
}
"""What experiments are compared by, each with its column of flows."""

SCHEMA = pa.schema(
    [
        ("dimension", pa.string()),
        ("value", pa.string()),
        ("change", pa.string()),
        ("bytes_a", pa.int64()),
        ("bytes_b", pa.int64()),
        ("bytes_difference", pa.int64()),
        ("packets_a", pa.int64()),
        ("packets_b", pa.int64()),
        ("packets_difference", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Line:
    """A value of a dimension in both experiments.

    Attributes:
        value: None for what is not known, so that the lines of a dimension have every packet.
        a: of the first experiment; None if it has no packet of the value.
        b: of the second.
    """

    value: str | int | None
    a: Sum | None
    b: Sum | None

    @property
    def difference(self) -> Sum:
        """How many more the second has."""
        a, b = self.a or Sum(), self.b or Sum()
        return Sum(b.packets - a.packets, b.bytes - a.bytes)

    @property
    def change(self) -> str:
        """What became of it from the first to the second: new, gone, more, less or same."""
        if self.a is None or self.b is None:
            return "new" if self.a is None else "gone"
        by = self.difference.bytes or self.difference.packets
        return "more" if by > 0 else "less" if by < 0 else "same"


@dataclass(frozen=True)
class Comparison:
    """Two experiments, dimension by dimension.

    Attributes:
        a: name of the first experiment.
        b: name of the second.
        total: both as a whole.
        dimensions: the lines of each dimension; the greatest difference of bytes comes first.
    """

    a: str
    b: str
    total: Line
    dimensions: Mapping[str, Sequence[Line]]

    def rows(self) -> Rows:
        """Return all lines as a table."""
        found = [
            _row(dimension, line) for dimension, lines in self.dimensions.items() for line in lines
        ]
        return Rows.of(pa.Table.from_pylist(found, schema=SCHEMA))


def compare(a: tuple[Source, Question], b: tuple[Source, Question]) -> Comparison:
    """Compare the flows of two questions, each answered by its source."""
    dimensions = {
        name: _lines(*(source.sums(question, column) for source, question in (a, b)))
        for name, column in DIMENSIONS.items()
    }
    lines = dimensions["direction"]
    total = Line(None, _whole([line.a for line in lines]), _whole([line.b for line in lines]))
    return Comparison(a[1].experiment, b[1].experiment, total, dimensions)


def _lines(a: Mapping[str | int | None, Sum], b: Mapping[str | int | None, Sum]) -> Sequence[Line]:
    lines = [Line(value, a.get(value), b.get(value)) for value in {**a, **b}]
    return sorted(lines, key=_greatest_first)


def _greatest_first(line: Line) -> tuple[int, int, bool, str]:
    difference = line.difference
    name = "" if line.value is None else str(line.value)
    return -abs(difference.bytes), -abs(difference.packets), line.value is None, name


def _whole(sums: Sequence[Sum | None]) -> Sum:
    known = [each for each in sums if each]
    return Sum(sum(each.packets for each in known), sum(each.bytes for each in known))


def _row(dimension: str, line: Line) -> dict[str, object]:
    a, b, difference = line.a or Sum(), line.b or Sum(), line.difference
    return {
        "dimension": dimension,
        "value": None if line.value is None else str(line.value),
        "change": line.change,
        "bytes_a": a.bytes,
        "bytes_b": b.bytes,
        "bytes_difference": difference.bytes,
        "packets_a": a.packets,
        "packets_b": b.packets,
        "packets_difference": difference.packets,
    }
