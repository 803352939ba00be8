"""The summary of a capture: traffic over time, and the values with the most bytes.

It adds up flows while they are loaded, so that the back end need not be queried for them.
Drawing is up to `defs/charts.py`.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.rows.stretches import stretches

COLUMNS = (
    "app_tag",
    "app_category_tag",
    "remote_name",
    "remote_organisation",
    "tls_sni",
    "geo_country",
    "protocol",
)
"""Columns of flows whose values with the most bytes are listed."""

MOST = 10
"""Values to list."""

PARTS = 48
"""Largest number of parts that the time of a capture is divided into."""

_WITH_A_PUBLIC_END = pa.array(["outside", "transit"])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CaptureSummary:
    """Sums of all flows of a capture.

    Attributes:
        first: time of the first packet; None without packets.
        last: time of the last packet.
        packets: number of packets.
        bytes_out: bytes from local to remote ends, on the wire.
        bytes_in: bytes from remote to local ends.
        public_bytes: bytes of packets with a public end.
        unnamed_bytes: bytes of packets with a public end and no application.
        over_time: bytes out and in of equal parts of the time. An empty part stands for each gap
            that is left out.
        most: for each column, its values with the most bytes, and these bytes.
        part_seconds: seconds in a part.
        gaps: seconds of each gap that is left out.
    """

    first: datetime | None = None
    last: datetime | None = None
    packets: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    public_bytes: int = 0
    unnamed_bytes: int = 0
    over_time: Sequence[tuple[int, int]] = ()
    most: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    part_seconds: int = 1
    gaps: Sequence[int] = ()

    @property
    def unnamed_share(self) -> float:
        """Share of the public bytes without an application; 0 if there are none."""
        return self.unnamed_bytes / self.public_bytes if self.public_bytes else 0.0


class _OverTime(TypedDict):
    over_time: Sequence[tuple[int, int]]
    part_seconds: int
    gaps: Sequence[int]


class Summarizer:
    """Adds up the flows of a capture as they pass by. It keeps sums alone, not flows."""

    def __init__(self, columns: Sequence[str] = COLUMNS) -> None:
        """Begin without flows.

        Args:
            columns: whose values with the most bytes to list.
        """
        self._sums = pa.table(
            {
                name: pa.array([], pa.int64())
                for name in ("first", "last", "packets", "out", "in", "public", "unnamed")
            }
        )
        self._seconds: list[pa.Table] = []
        self._values: dict[str, list[pa.Table]] = {name: [] for name in columns}

    def pass_on(self, flows: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
        """Yield the batches of `flows.flows` unchanged, and add them up."""
        for batch in flows:
            self._add(pa.Table.from_batches([batch]))
            yield batch

    def summary(self, *, parts: int = PARTS) -> CaptureSummary:
        """Return the summary of all flows so far.

        Args:
            parts: largest number of parts to divide the time into. A part has whole seconds.
        """
        first, last = pc.min(self._sums["first"]).as_py(), pc.max(self._sums["last"]).as_py()
        if first is None:
            return CaptureSummary()
        packets, out, into, public, unnamed = (
            pc.sum(self._sums[name]).as_py() for name in self._sums.column_names[2:]
        )
        most = {name: _most(values) for name, values in self._values.items()}
        return CaptureSummary(
            _time(first),
            _time(last),
            packets,
            out,
            into,
            public,
            unnamed,
            most=most,
            **self._over_time(parts),
        )

    def _over_time(self, parts: int) -> "_OverTime":
        """Sum up bytes by parts of the time; long gaps are left out."""
        by_second = _summed(self._seconds, "second").sort_by("second")
        seconds = by_second["second"].to_numpy()
        drawn = stretches(seconds, seconds + 1)
        if 2 * len(drawn) > parts:
            drawn = [(drawn[0][0], drawn[-1][1])]
        width = _width([end - begin for begin, end in drawn], parts)
        begins = np.array([begin for begin, _ in drawn])
        # An empty part follows each stretch.
        lengths = np.array([-(-(end - begin) // width) + 1 for begin, end in drawn])
        firsts = np.cumsum(lengths) - lengths
        stretch = np.searchsorted(begins, seconds, side="right") - 1
        numbers = pa.array(firsts[stretch] + (seconds - begins[stretch]) // width)
        by_part = _summed([by_second.set_column(0, "part", numbers)], "part")
        over_time = [(0, 0)] * int(lengths.sum() - 1)
        for part, part_out, part_in in zip(*_columns(by_part), strict=True):
            over_time[part] = (part_out, part_in)
        return {
            "over_time": over_time,
            "part_seconds": width,
            "gaps": [after[0] - before[1] for before, after in pairwise(drawn)],
        }

    def _add(self, flows: pa.Table) -> None:
        out, into = flows["bytes_out"], flows["bytes_in"]
        size = pc.add(out, into)
        is_public = pc.is_in(flows["direction"].cast(pa.string()), _WITH_A_PUBLIC_END)
        is_unnamed = pc.and_(is_public, pc.is_null(flows["app_tag"]))
        sums = {
            "first": pc.min(flows["first_ts"].cast(pa.int64())),
            "last": pc.max(flows["last_ts"].cast(pa.int64())),
            "packets": pc.sum(pc.add(flows["packets_out"], flows["packets_in"])),
            "out": pc.sum(out),
            "in": pc.sum(into),
            "public": pc.sum(size.filter(is_public), min_count=0),
            "unnamed": pc.sum(size.filter(is_unnamed), min_count=0),
        }
        row = {name: pa.array([total.as_py()], pa.int64()) for name, total in sums.items()}
        self._sums = pa.concat_tables([self._sums, pa.table(row)])
        second = pc.divide(flows["ts"].cast(pa.int64()), 1_000_000)
        by_second = pa.table({"second": second, "out": out, "in": into})
        self._seconds.append(_summed([by_second], "second"))
        for name, tables in self._values.items():
            by_value = pa.table({"value": flows[name].cast(pa.string()), "bytes": size})
            tables.append(_summed([by_value], "value"))


def _summed(tables: Sequence[pa.Table], key: str) -> pa.Table:
    """Sum up all columns by the key; they keep their names."""
    table = pa.concat_tables(tables)
    summed = table.group_by(key).aggregate(
        [(name, "sum") for name in table.column_names if name != key]
    )
    return summed.rename_columns(
        [name.removesuffix("_sum") for name in summed.column_names]
    ).select(table.column_names)


def _width(lengths: Sequence[int], parts: int) -> int:
    """Choose the seconds of a part, so that stretches and the empty parts between them fit."""
    width = max(1, sum(lengths) // parts)
    while sum(-(-length // width) for length in lengths) + len(lengths) - 1 > parts:
        width += max(1, width // 50)
    return width


def _most(values: Sequence[pa.Table]) -> list[tuple[str, int]]:
    summed = _summed(values, "value")
    ranked = summed.filter(pc.is_valid(summed["value"])).sort_by(
        [("bytes", "descending"), ("value", "ascending")]
    )
    return list(zip(*_columns(ranked.slice(0, MOST)), strict=True))


def _columns(table: pa.Table) -> list[list[int]]:
    return [column.to_pylist() for column in table.columns]


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
