"""Counts what the data set stores of every capture, by reading its files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.backends.loads import StoredCounts

_PACKETS_COLUMNS = ("frame_len",)
_FLOWS_COLUMNS = ("packets_out", "packets_in", "bytes_out", "bytes_in")


def stored_counts(folder: Path, *, thorough: bool = False) -> dict[str, StoredCounts]:
    """Count by capture key what can be read.

    A file that cannot be read counts as missing, so the next load of its capture replaces it.

    Args:
        folder: of the data set.
        thorough: read every column, not only those that are counted.
    """
    counts: dict[str, StoredCounts] = {}
    packets = _read(folder / "packets", _PACKETS_COLUMNS, thorough=thorough)
    flows = _read(folder / "flows", _FLOWS_COLUMNS, thorough=thorough)
    for key, rows, (length,) in packets:
        before = counts.get(key, StoredCounts())
        counts[key] = replace(before, rows=before.rows + rows, bytes=before.bytes + length)
    for key, _, (packets_out, packets_in, bytes_out, bytes_in) in flows:
        before = counts.get(key, StoredCounts())
        counts[key] = replace(
            before,
            flow_packets=before.flow_packets + packets_out + packets_in,
            flow_bytes=before.flow_bytes + bytes_out + bytes_in,
        )
    return counts


def _read(
    folder: Path, columns: tuple[str, ...], *, thorough: bool
) -> Iterator[tuple[str, int, list[int]]]:
    """Yield of each file its capture key, its number of rows, and the sums of the columns."""
    for path in folder.glob("experiment=*/date=*/*.parquet"):
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                table = file.read(None if thorough else ["capture", *columns])
        except (pa.ArrowException, OSError):
            continue
        if table.num_rows:
            yield (
                table["capture"][0].as_py(),
                table.num_rows,
                [pyarrow.compute.sum(table[name]).as_py() or 0 for name in columns],
            )
