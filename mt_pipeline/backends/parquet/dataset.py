"""The data set: `packets/experiment=…/date=…/<capture>.parquet`, and `flows` likewise.

A capture has one file per UTC date, under a name of its own. A load writes all its files into a
temporary folder, counts their rows, and renames them. Last it deletes the files that only the
earlier load had.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.backends.loads import FlowsDiffer, Load, Loaded, Part, RowsMissing, Stored
from mt_pipeline.backends.parquet.writer import DEFAULT_LIMITS, DateWriter, Limits
from mt_pipeline.captures.naming import file_name_of
from mt_pipeline.schema.tables import FLOWS, PACKETS
from mt_pipeline.system import duckdb_pool

_TABLES = {"packets": PACKETS, "flows": FLOWS}
_PACKETS_QUERY = """
SELECT count(*), sum(frame_len)::BIGINT, epoch_us(min(ts)), epoch_us(max(ts)) FROM read_parquet(?)
"""
_FLOWS_QUERY = """
SELECT count(*), sum(packets_out + packets_in)::BIGINT, sum(bytes_out + bytes_in)::BIGINT
FROM read_parquet(?)
"""


def load(folder: Path, rows: Load, *, limits: Limits = DEFAULT_LIMITS) -> tuple[Loaded, Stored]:
    """Load the packets and the flows of a capture, and compare them before anybody can read them.

    Readers see each earlier file until it is replaced. The next load repairs an interrupted one.

    Args:
        folder: of the data set.
        rows: what to load.
        limits: what the writers may have open or create.

    Raises:
        RowsMissing: the files do not have the packets that were written.
        Scattered: the packets lie on too many dates.
        FlowsDiffer: the flows do not have the packets and bytes of the rows.
        OSError: the files cannot be written, for example on a full disk.
    """
    capture = rows.capture
    temporary = _temporary(folder, capture)
    shutil.rmtree(temporary, ignore_errors=True)  # of a load that was killed
    try:
        packets = _write(temporary, rows, limits)
        stored = _summary(temporary)
        before = _rows(_files(folder, "packets", capture))
        loaded = Loaded(
            stored.rows,
            packets.read,
            dict(packets.skipped),
            max(0, before - stored.rows),
            has_view=True,
        )
        if stored.rows != packets.sent:
            raise RowsMissing(
                f"{capture}: {packets.sent} rows were written, but its Parquet files have "
                f"{stored.rows}; launch the capture again",
                capture,
                loaded,
            )
        if not stored.agrees:
            raise FlowsDiffer(
                f"{capture}: in Parquet the flows have {stored.flow_packets} packets and "
                f"{stored.flow_bytes} bytes, the rows {stored.rows} and {stored.bytes}; "
                "launch the capture again",
                stored,
            )
        rows.check()
        _publish(folder, temporary, capture, rows.experiment)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return loaded, stored


def remove(folder: Path, capture: str, *, flows: bool = True) -> int:
    """Delete the files of a capture, and what a killed load left.

    Args:
        folder: of the data set.
        capture: capture key.
        flows: delete the files of its flows, too.

    Returns:
        How many packets it had.
    """
    shutil.rmtree(_temporary(folder, capture), ignore_errors=True)
    packets = _files(folder, "packets", capture)
    rows = _rows(packets)
    _delete([*(_files(folder, "flows", capture) if flows else []), *packets])
    return rows


def name_of(capture: str) -> str:
    """Return the name of a capture's files. Readers ignore names that begin with `.` or `_`."""
    return f"{file_name_of(capture).lstrip('._')}.parquet"


def _write(temporary: Path, rows: Load, limits: Limits) -> Part:
    for name in _TABLES:
        (temporary / name).mkdir(parents=True)
    packets = Part(rows.capture, rows.experiment, rows.packets, rows.progress)
    with DateWriter(PACKETS, temporary / "packets", capture=rows.capture, limits=limits) as writer:
        for batch in packets.storable():
            writer.write(batch)
    with DateWriter(FLOWS, temporary / "flows", capture=rows.capture, limits=limits) as writer:
        for batch in rows.flows:
            writer.write(batch)
    return packets


def _summary(temporary: Path) -> Stored:
    """Read what was written, and count it."""
    with duckdb_pool.connection(temporary) as connection:

        def totals(name: str, query: str) -> Sequence[int | None]:
            files = [str(path) for path in (temporary / name).iterdir()]
            row = connection.execute(query, [files]).fetchone() if files else None
            return row or (0, 0, None, None)

        rows, length, first, last = totals("packets", _PACKETS_QUERY)
        flows, flow_packets, flow_bytes, *_ = totals("flows", _FLOWS_QUERY)
    return Stored(
        rows or 0,
        length or 0,
        _time(first),
        _time(last),
        flows or 0,
        flow_packets or 0,
        flow_bytes or 0,
    )


def _time(microseconds: int | None) -> datetime | None:
    """Return a time without a zone, as QuestDB does."""
    if microseconds is None:
        return None
    return datetime(1970, 1, 1) + timedelta(microseconds=microseconds)


def _publish(folder: Path, temporary: Path, capture: str, experiment: str) -> None:
    """Sync the files, rename them to their final paths, and delete those of other dates."""
    for name in _TABLES:
        earlier = set(_files(folder, name, capture))
        dates = folder / name / f"experiment={experiment}"
        targets = {
            path: dates / f"date={path.stem}" / name_of(capture)
            for path in sorted((temporary / name).iterdir())
        }
        for path in targets:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        for path, target in targets.items():
            _rename(path, target)
        _delete(earlier - set(targets.values()))


def _rename(path: Path, target: Path) -> None:
    while True:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(target)
        except FileNotFoundError:  # another capture has just deleted the empty folder
            if not path.exists():
                raise
        else:
            return


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # the folder has files of other captures
            path.parent.rmdir()
            path.parent.parent.rmdir()


def _files(folder: Path, name: str, capture: str) -> list[Path]:
    return list((folder / name).glob(f"experiment=*/date=*/{name_of(capture)}"))


def _rows(files: Iterable[Path]) -> int:
    """Count the rows of files. One that cannot be read will be replaced or deleted anyway."""
    rows = 0
    for path in files:
        with suppress(pa.ArrowException):
            rows += pa.parquet.read_metadata(path).num_rows
    return rows


def _temporary(folder: Path, capture: str) -> Path:
    return folder / ".loading" / file_name_of(capture)
