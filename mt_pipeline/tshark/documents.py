"""tshark's output as a file of documents: one JSON object a line per packet, zstd, the same objects as between the index lines of `tshark -T ek`.

Writing streams what tshark says; reading gives a DuckDB relation with the field list as its schema. Who reads knows nothing of tshark's text.
Four differences from `-T ek` are inherent in column output: values are cut at 2,047 bytes, a comma inside one of several values cannot be
told from the separator, an empty value is absent, and a backslash before a, b, f, n, r, t, v or three octal digits is taken for tshark's escape of a
control character, which it does not tell from the same text in a name. A field that is asked for once (`Field.first_only`) has one value.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from mt_pipeline.system import duckdb_pool
from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark.command import PREFERENCES, Tshark
from mt_pipeline.tshark.fields import FIELDS, Field

SUFFIX = ".ndjson.zst"

Progress = Callable[[int], None]
"""Told the number of packets so far, after every block of some thousand."""


class Listener(Protocol):
    """Who wants to see the documents while they are written."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields it wants."""

    def add(self, block: pa.Table) -> None:
        """Take in the documents of a block, in frame order: a column per key, each a list of text, NULL where the packet lacks the field."""


ALL_KEYS = tuple(field.key for field in FIELDS)
"""Names of the fields in a document."""

_ESCAPE = re.compile(r"\\([abfnrtv]|0(?!00)[0-3][0-7]|177)")

_NO_PACKET = r"^(systemd_journal|sysdig|falcobridge)(:|$)"
"""First dissectors of entries of a journal and of system calls. A custom block has neither a dissector of its own nor a time."""

_BLOCK_BYTES = 4 << 20
"""Of tshark's output: some ten thousand packets. Smaller ones cost more, larger ones more memory."""

_FORMAT = 2  # raise it when the same fields are written in another form


def inputs_hash(tshark: Tshark, *, sha256: str, display_filter: str) -> str:
    """Hash all that makes the documents: content, filter, fields, tshark's version and preferences. 16 hexadecimal digits."""
    fields = [(field.name, field.first_only) for field in FIELDS]
    inputs = json.dumps([_FORMAT, sha256, display_filter, fields, tshark.version, PREFERENCES])
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


def write(
    tshark: Tshark,
    capture: Path,
    output: Path,
    *,
    called: Path | None = None,
    display_filter: str = "",
    listener: Listener | None = None,
    progress: Progress = lambda _: None,
) -> int:
    """Run tshark on a capture and write its documents; the file appears only when whole.

    Args:
        tshark: which one.
        capture: any file tshark reads.
        output: the file of documents.
        called: what people know it as, if that is another path.
        display_filter: only packets that match; all if empty.
        listener: given every block of documents as it comes.
        progress: see Progress.

    Returns:
        The number of packets. A capture that is cut inside its last packet gives all whole ones.

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
        ThreadPoolExecutor(
            max_workers=1
        ) as reader,  # ends after tshark, whose end it may be waiting for
        tshark.lines(capture, display_filter, called=called) as stream,
    ):
        try:
            packets = _convert(connection, stream.output, documents, listener, progress, reader)
        except pa.ArrowInvalid as error:
            stream.not_understood = str(error)
    return packets


def read(
    connection: duckdb.DuckDBPyConnection, documents: Path, *, keys: tuple[str, ...] = ALL_KEYS
) -> duckdb.DuckDBPyRelation:
    """Open documents as a relation in frame order: a column per field, each a list of text, NULL where the packet lacks the field.

    Args:
        connection: where the relation lives.
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
        [(packets,)] = (
            read(connection, documents, keys=("frame_number",)).aggregate("count(*)").fetchall()
        )
    return int(packets)


def _convert(
    connection: duckdb.DuckDBPyConnection,
    output: IO[bytes],
    documents: pa.NativeFile,
    listener: Listener | None,
    progress: Progress,
    reader: ThreadPoolExecutor,
) -> int:
    packets = 0
    # A thread waits for tshark and parses the next block, while we work on one; so both are busy, and no more than that is in memory.
    batches = _batches(output)
    following = reader.submit(next, batches, None)
    while (batch := following.result()) is not None:
        following = reader.submit(next, batches, None)
        block = _packets(_unescaped(batch))
        for chunk in connection.from_arrow(block).project(_LINE).to_arrow_table().column(0).chunks:
            documents.write(_text_of(chunk))
        if listener:
            listener.add(_lists(block, listener.keys))
        packets += block.num_rows
        progress(packets)
    return packets


def _batches(output: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Parse tshark's lines as they come, a block at a time and none ahead: a column of text per field, empty where the packet lacks it."""
    rest = b""
    while data := output.read(_BLOCK_BYTES):
        lines, end, rest = (rest + data).rpartition(b"\n")
        if end:
            yield _parsed(lines + end)
    if rest:  # of a tshark that was killed
        yield _parsed(rest)


def _parsed(lines: bytes) -> pa.RecordBatch:
    table = pyarrow.csv.read_csv(
        pa.BufferReader(_utf8(lines)),
        read_options=pyarrow.csv.ReadOptions(
            column_names=ALL_KEYS, block_size=2 * len(lines), use_threads=False
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(ALL_KEYS, pa.string()), strings_can_be_null=False
        ),
    )
    [batch] = table.combine_chunks().to_batches()
    return batch


def _utf8(text: bytes) -> bytes:
    """Make tshark's output valid: a value cut at 2,047 bytes may end inside a character."""
    return text if text.isascii() else text.decode("utf-8", "replace").encode()


def _packets(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Leave out the blocks of a pcapng that tshark numbers like packets, and that are none; hardly any capture has one."""
    protocols = batch.column("frame_protocols")
    custom = pyarrow.compute.and_(
        pyarrow.compute.equal(protocols, "data"),
        pyarrow.compute.equal(batch.column("frame_time_epoch"), ""),
    )
    others = pyarrow.compute.or_(
        pyarrow.compute.match_substring_regex(protocols, _NO_PACKET), custom
    )
    return (
        batch.filter(pyarrow.compute.invert(others))
        if pyarrow.compute.any(others).as_py()
        else batch
    )


def _unescaped(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Undo tshark's escapes of control characters in text that others choose; hardly any capture has one."""
    for place, field in enumerate(FIELDS):
        column = batch.column(place)
        if (
            field.text
            and pyarrow.compute.any(pyarrow.compute.match_substring(column, "\\")).as_py()
        ):
            values = [_ESCAPE.sub(_control, value) for value in column.to_pylist()]
            batch = batch.set_column(place, field.key, pa.array(values, pa.string()))
    return batch


def _control(escape: re.Match[str]) -> str:
    letter = escape[1]
    return {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}.get(
        letter
    ) or chr(int(letter, 8))


def _text_of(chunk: pa.Array) -> pa.Buffer:
    """Take the joined text of a column without copying it: Arrow keeps it in one piece."""
    _, offsets, text = chunk.buffers()
    ends = pa.Array.from_buffers(pa.int32(), chunk.offset + len(chunk) + 1, [None, offsets])
    first = ends[chunk.offset].as_py()
    return text.slice(first, ends[-1].as_py() - first)


def _line() -> str:
    """Build the SQL that turns a row of columns into a line with its document, in one `concat`: a chain of `||` copies the text at each link."""
    # Milliseconds, as ek has it; newer versions of tshark say ISO 8601 here and there too, which stays as it is.
    timestamp = "CASE WHEN contains(frame_time_epoch, ':') THEN frame_time_epoch ELSE replace(frame_time_epoch, '.', '')[:-7] END"
    first, *others = FIELDS  # every packet has its number
    members = [
        _member(first),
        *(
            f"CASE WHEN {field.key} <> '' THEN concat(',', {_member(field)}) END"
            for field in others
        ),
    ]
    return f"""concat('{{"timestamp":"', {timestamp}, '","layers":{{', {", ".join(members)}, '}}}}', chr(10))"""


def _member(field: Field) -> str:
    if field.text:
        return f"""'"{field.key}":[', to_json({field.key}), ']'"""
    values = field.key if field.first_only else f"""replace({field.key}, ',', '","')"""
    return f"""'"{field.key}":["', {values}, '"]'"""


_LINE = _line()


def _lists(block: pa.RecordBatch, keys: Iterable[str]) -> pa.Table:
    """Give the values of some fields as lists, NULL where a packet lacks the field; without copying text where no packet has several."""
    several = {field.key for field in FIELDS if not field.first_only}
    one_each = pa.array(np.arange(block.num_rows + 1, dtype=np.int32))
    columns = {}
    for key in keys:
        text = block.column(key)
        absent = pyarrow.compute.equal(text, "")
        if (
            key in several
            and pyarrow.compute.any(pyarrow.compute.match_substring(text, ",")).as_py()
        ):
            lists = pyarrow.compute.split_pattern(text, ",")
            columns[key] = pa.ListArray.from_arrays(lists.offsets, lists.values, mask=absent)
        else:
            columns[key] = pa.ListArray.from_arrays(one_each, text, mask=absent)
    return pa.table(columns)
