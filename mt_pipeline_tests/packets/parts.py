"""Helpers of this room: typed rows as Python objects, from frames, a capture or documents."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import duckdb
import pyarrow as pa

from mt_pipeline.packets import typed
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.packets.said import SaidFiles
from mt_pipeline.rows.sources import Sources
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.tshark.parts import documents_of

Row = dict[str, object]


def said_in(folder: Path) -> SaidFiles:
    """Name the files of what packets say."""
    return SaidFiles(*(folder / field.name for field in fields(SaidFiles)))


def sources_in(folder: Path) -> Sources:
    """Name the files of which rows are made."""
    packets, sums, names, answers = (
        folder / name for name in ("packets", "sums", "names", "answers")
    )
    return Sources(packets, sums, said_in(folder), names, answers)


def typed_of(documents: Path) -> tuple[Path, Path]:
    """Write the typed packets and the names of the streams next to the documents."""
    packets, names = documents.with_suffix(".packets"), documents.with_suffix(".names")
    with conversations(documents) as streams:
        streams.read(documents)
        streams.write_packets(packets, documents.with_suffix(".sums"), said_in(documents.parent))
        streams.write_names(names)
    return packets, names


@contextmanager
def typed_rows(documents: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the typed rows as a view `typed`."""
    with typed.connection(documents) as connection:
        typed.rows(connection, *typed_of(documents)).create_view("typed")
        yield connection


def rows_of(documents: Path) -> list[Row]:
    """Return the rows of documents in frame order, with `ts` in microseconds since 1970."""
    with typed_rows(documents) as connection:
        table = connection.sql("FROM typed ORDER BY frame_number").to_arrow_table()
    assert table.schema.field("ts").type == pa.timestamp("us")
    # Python has no times after 9999.
    return table.set_column(
        table.schema.get_field_index("ts"), "ts", table["ts"].cast(pa.int64())
    ).to_pylist()


def rows_of_frames(folder: Path, frames: Iterable[bytes]) -> list[Row]:
    """Return the rows of Ethernet frames, through a capture and tshark."""
    return rows_of(documents_of(write_pcap(folder / "frames.pcap", timed(frames))))


def picked(rows: Iterable[Row], *names: str) -> list[tuple[object, ...]]:
    """Return some columns."""
    return [tuple(row[name] for name in names) for row in rows]
