"""tshark's output as a file of documents: one JSON object a line per packet, zstd.

The objects are those between the index lines of `tshark -T ek`. Writing streams tshark's output;
reading gives a DuckDB relation with the field list as its schema. How the text of tshark becomes
documents, and what differs from `-T ek`, is `conversion.py`.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from mt_pipeline.system import duckdb_pool
from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark import conversion, hellos
from mt_pipeline.tshark.command import PREFERENCES, Tshark
from mt_pipeline.tshark.fields import ALL_KEYS, FIELDS

SUFFIX = ".ndjson.zst"

Progress = Callable[[int], None]
"""Called with the number of packets so far, after every block of some thousand."""

_FORMAT = 2  # raise it when the same fields are written in another form


class Listener(Protocol):
    """What receives the documents while they are written."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields that it receives."""

    def add(self, block: pa.Table) -> None:
        """Add the documents of a block, in frame order.

        There is a column per key, each a list of text, NULL where the packet lacks the field.
        """


def inputs_hash(tshark: Tshark, *, sha256: str, display_filter: str) -> str:
    """Return a hash of all that determines the documents, 16 hexadecimal digits.

    That is content, filter, fields, and tshark's version, preferences and script.
    """
    fields = [(field.column, field.first_only) for field in FIELDS]
    made_by = [tshark.version, PREFERENCES, hellos.VERSION]
    inputs = json.dumps([_FORMAT, sha256, display_filter, fields, *made_by])
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


def write(
    tshark: Tshark,
    capture: Path,
    output: Path,
    *,
    shown_as: Path | None = None,
    display_filter: str = "",
    listener: Listener | None = None,
    progress: Progress = lambda _: None,
) -> int:
    """Run tshark on a capture and write its documents; the file appears only when complete.

    Args:
        tshark: which one.
        capture: any file that tshark reads.
        output: the file of documents.
        shown_as: the path that errors name, if the user knows the capture by another one.
        display_filter: only packets that match; all if empty.
        listener: receives every block of documents.
        progress: see Progress.

    Returns:
        The number of packets. A capture that is cut inside its last packet gives all complete ones.

    Raises:
        TsharkError: tshark failed.
        OSError: the documents cannot be written, for example on a full disk.
    """
    packets = 0
    with (
        whole(output) as partial,
        partial.open("wb") as file,
        pa.CompressedOutputStream(file, "zstd") as documents,
        duckdb_pool.connection(output) as connection,
        # Ends after tshark, whose end it may be waiting for.
        ThreadPoolExecutor(max_workers=1) as reader,
        tshark.lines(capture, display_filter, shown_as=shown_as) as stream,
    ):
        try:
            for block in conversion.blocks(stream.output, reader):
                for text in conversion.documents_of(connection, block):
                    documents.write(text)
                if listener:
                    listener.add(conversion.lists(block, listener.keys))
                packets += block.num_rows
                progress(packets)
        except pa.ArrowInvalid as error:
            stream.not_understood = str(error)
    return packets


def read(
    connection: duckdb.DuckDBPyConnection, documents: Path, *, keys: tuple[str, ...] = ALL_KEYS
) -> duckdb.DuckDBPyRelation:
    """Open documents as a relation in frame order.

    It has a column per field, each a list of text, NULL where the packet lacks the field.

    Args:
        connection: of the relation.
        documents: the file.
        keys: only these fields, which is faster than all.
    """
    layers = ", ".join(f"{key} VARCHAR[]" for key in keys)
    return connection.read_json(
        str(documents),
        format="newline_delimited",
        compression="zstd",
        columns={"layers": f"STRUCT({layers})"},
        maximum_object_size=1 << 20,
    ).project("unnest(layers)")


def count(documents: Path) -> int:
    """Count the documents of a file."""
    with duckdb_pool.connection(documents) as connection:
        relation = read(connection, documents, keys=("frame_number",))
        [(packets,)] = relation.aggregate("count(*)").fetchall()
    return int(packets)
