"""The data set: `packets/experiment=…/date=…/<capture>.parquet`, and `flows` likewise. A capture has one file per UTC date, whose name is its own.

All files of a load are written beside, counted, and renamed then; what the load before had and this one lacks is deleted last.
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
from mt_pipeline.backends.parquet.writer import Dated
from mt_pipeline.captures.naming import file_name_of
from mt_pipeline.schema.tables import FLOWS, PACKETS
from mt_pipeline.system import duckdb_pool

_TABLES = {"packets": PACKETS, "flows": FLOWS}
_OF_PACKETS = "SELECT count(*), sum(frame_len)::BIGINT, epoch_us(min(ts)), epoch_us(max(ts)) FROM read_parquet(?)"
_OF_FLOWS = "SELECT count(*), sum(packets_out + packets_in)::BIGINT, sum(bytes_out + bytes_in)::BIGINT FROM read_parquet(?)"


def load(folder: Path, wanted: Load) -> tuple[Loaded, Stored]:
    """Load the packets and the flows of a capture, and compare them before anybody can read them.

    Readers see the earlier files until each is replaced. A load that breaks off is made good by the next one.

    Args:
        folder: of the data set.
        wanted: what is to be loaded.

    Raises:
        RowsMissing: the files do not hold the packets that were written.
        Scattered: the packets lie on too many dates.
        FlowsDiffer: the flows do not have the packets and bytes of the rows.
        OSError: the files cannot be written, for example on a full disk.
    """
    capture = wanted.capture
    beside = _beside(folder, capture)
    shutil.rmtree(beside, ignore_errors=True)  # of a load that was killed
    try:
        packets = _write(beside, wanted)
        stored = _summary(beside)
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
                f"{capture}: {packets.sent} rows were written, but its Parquet files hold {stored.rows}; launch the capture again",
                capture,
                loaded,
            )
        if not stored.agrees:
            raise FlowsDiffer(
                f"{capture}: in Parquet the flows have {stored.flow_packets} packets and {stored.flow_bytes} bytes, the rows {stored.rows} and "
                f"{stored.bytes}; launch the capture again",
                stored,
            )
        _publish(folder, beside, capture, wanted.experiment)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return loaded, stored


def remove(folder: Path, capture: str, *, flows: bool = True) -> int:
    """Delete the files of a capture, those of its flows too or not, and what a killed load left. Returns how many packets they had."""
    shutil.rmtree(_beside(folder, capture), ignore_errors=True)
    packets = _files(folder, "packets", capture)
    rows = _rows(packets)
    _delete([*(_files(folder, "flows", capture) if flows else []), *packets])
    return rows


def name_of(capture: str) -> str:
    """Name the files of a capture; readers pass over what begins with a dot or `_`."""
    return f"{file_name_of(capture).lstrip('._')}.parquet"


def _write(beside: Path, wanted: Load) -> Part:
    for name in _TABLES:
        (beside / name).mkdir(parents=True)
    packets = Part(wanted.capture, wanted.experiment, wanted.packets, wanted.progress)
    with Dated(PACKETS, beside / "packets", capture=wanted.capture) as files:
        for batch in packets.storable():
            files.write(batch)
    with Dated(FLOWS, beside / "flows", capture=wanted.capture) as files:
        for batch in wanted.flows:
            files.write(batch)
    return packets


def _summary(beside: Path) -> Stored:
    """Read what was written, and count it."""
    with duckdb_pool.connection(beside) as connection:

        def asked(name: str, query: str) -> Sequence[int | None]:
            files = [str(path) for path in (beside / name).iterdir()]
            return (connection.execute(query, [files]).fetchone() if files else None) or (
                0,
                0,
                None,
                None,
            )

        rows, length, first, last = asked("packets", _OF_PACKETS)
        flows, packets, of_flows, *_ = asked("flows", _OF_FLOWS)
    return Stored(
        rows or 0, length or 0, _time(first), _time(last), flows or 0, packets or 0, of_flows or 0
    )


def _time(microseconds: int | None) -> datetime | None:
    """Say when, as QuestDB says it: without a zone."""
    return (
        None
        if microseconds is None
        else datetime(1970, 1, 1) + timedelta(microseconds=microseconds)
    )


def _publish(folder: Path, beside: Path, capture: str, experiment: str) -> None:
    """Put the files into their places, synced, and delete those of dates that are no longer any."""
    for name in _TABLES:
        earlier = set(_files(folder, name, capture))
        written = {
            path: folder
            / name
            / f"experiment={experiment}"
            / f"date={path.stem}"
            / name_of(capture)
            for path in sorted((beside / name).iterdir())
        }
        for path in written:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        for path, place in written.items():
            _rename(path, place)
        _delete(earlier - set(written.values()))


def _rename(path: Path, place: Path) -> None:
    while True:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(place)
        except FileNotFoundError:  # another capture left the folder empty, and so took it away
            if not path.exists():
                raise
        else:
            return


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other captures have files there
            path.parent.rmdir()
            path.parent.parent.rmdir()


def _files(folder: Path, name: str, capture: str) -> list[Path]:
    return list((folder / name).glob(f"experiment=*/date=*/{name_of(capture)}"))


def _rows(files: Iterable[Path]) -> int:
    """Count the rows of files; one that cannot be read is about to be replaced, or deleted."""
    rows = 0
    for path in files:
        with suppress(pa.ArrowException):
            rows += pa.parquet.read_metadata(path).num_rows
    return rows


def _beside(folder: Path, capture: str) -> Path:
    return folder / ".loading" / file_name_of(capture)
