"""What the data set holds of every capture, counted anew from its files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.backends.loads import StoredCounts

_PACKETS = ("frame_len",)
_FLOWS = ("packets_out", "packets_in", "bytes_out", "bytes_in")


def stored_counts(folder: Path, *, thorough: bool = False) -> dict[str, StoredCounts]:
    """Count by capture key what can be read; what cannot be read is not there, and the next load of its capture replaces it.

    Args:
        folder: of the data set.
        thorough: read every column, not only those that are counted.
    """
    found: dict[str, StoredCounts] = {}
    for key, rows, (length,) in _read(folder / "packets", _PACKETS, thorough=thorough):
        one = found.get(key, StoredCounts())
        found[key] = replace(one, rows=one.rows + rows, bytes=one.bytes + length)
    for key, _, (packets_out, packets_in, bytes_out, bytes_in) in _read(
        folder / "flows", _FLOWS, thorough=thorough
    ):
        one = found.get(key, StoredCounts())
        found[key] = replace(
            one,
            flow_packets=one.flow_packets + packets_out + packets_in,
            flow_bytes=one.flow_bytes + bytes_out + bytes_in,
        )
    return found


def _read(
    folder: Path, columns: tuple[str, ...], *, thorough: bool
) -> Iterator[tuple[str, int, list[int]]]:
    """Read file by file whose it is, its rows, and the sums of columns."""
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
