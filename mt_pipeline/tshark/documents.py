"""tshark's output as a file of documents: one JSON object a line per packet, zstd, the same objects as between the index lines of `tshark -T ek`.

Writing streams what tshark says; reading gives a DuckDB relation with the field list as its schema. Who reads knows nothing of tshark's text.
Four differences from `-T ek` are inherent in column output: values are cut at 2,047 bytes, a comma inside one of several values cannot be
told from the separator, an empty value is absent, and a backslash before a, b, f, n, r, t, v or three octal digits is taken for tshark's escape of a
control character, which it does not tell from the same text in a name. A field that is asked for once (`Field.first_only`) has one value.
"""

import codecs
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from mt_pipeline import engine
from mt_pipeline.atomic import whole
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

_FORMAT = 1  # raise it when the same fields are written in another form


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
        engine.connection(output) as connection,
        ThreadPoolExecutor(max_workers=1) as reader,  # ends after tshark, whose end it may be waiting for
        tshark.lines(capture, display_filter, called=called) as stream,
    ):
        try:
            packets = _convert(connection, stream.output, documents, listener, progress, reader)
        except pa.ArrowInvalid as error:
            stream.not_understood = str(error)
    return packets


def read(connection: duckdb.DuckDBPyConnection, documents: Path, *, keys: tuple[str, ...] = ALL_KEYS) -> duckdb.DuckDBPyRelation:
    """Open documents as a relation in frame order: a column per field, each a list of text, NULL where the packet lacks the field.

    Args:
        connection: where the relation lives.
        documents: the file.
        keys: only these fields, which is faster than all.
    """
    layers = ", ".join(f"{key} VARCHAR[]" for key in keys)
    return connection.read_json(
        str(documents), format="newline_delimited", compression="zstd", columns={"layers": f"STRUCT({layers})"}, maximum_object_size=1 << 20
    ).project("unnest(layers)")


def count(documents: Path) -> int:
    """Count the documents of a file."""
    with engine.connection(documents) as connection:
        [(packets,)] = read(connection, documents, keys=("frame_number",)).aggregate("count(*)").fetchall()
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
    # pyarrow waits for tshark in C, where no signal is heard: a thread waits there, and we where Ctrl-C and a cancelled run reach us.
    batches = iter(reader.submit(_batches, output).result())
    following = reader.submit(next, batches, None)
    while (batch := following.result()) is not None:
        following = reader.submit(next, batches, None)
        block = _unescaped(batch)
        for chunk in connection.from_arrow(block).project(_LINE).to_arrow_table().column(0).chunks:
            documents.write(_text_of(chunk))
        if listener:
            listener.add(_lists(block, listener.keys))
        packets += batch.num_rows
        progress(packets)
    return packets


def _batches(output: IO[bytes]) -> Iterable[pa.RecordBatch]:
    """Parse tshark's lines as they come: a column of text per field, empty where the packet lacks it."""
    text = pa.schema([pa.field(key, pa.string()) for key in ALL_KEYS])
    try:
        batches: Iterable[pa.RecordBatch] = pyarrow.csv.open_csv(
            _Utf8(output),
            # A thread of pyarrow's reads ahead, so that tshark and we work at the same time.
            read_options=pyarrow.csv.ReadOptions(column_names=ALL_KEYS, block_size=4 << 20, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if str(error) == "Empty CSV file":
            return []
        raise
    return batches


def _unescaped(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Undo tshark's escapes of control characters in text that others choose; hardly any capture has one."""
    for place, field in enumerate(FIELDS):
        column = batch.column(place)
        if field.text and pyarrow.compute.any(pyarrow.compute.match_substring(column, "\\")).as_py():
            values = [_ESCAPE.sub(_control, value) for value in column.to_pylist()]
            batch = batch.set_column(place, field.key, pa.array(values, pa.string()))
    return batch


def _control(escape: re.Match[str]) -> str:
    letter = escape[1]
    return {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}.get(letter) or chr(int(letter, 8))


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
    members = [_member(first), *(f"CASE WHEN {field.key} <> '' THEN concat(',', {_member(field)}) END" for field in others)]
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
        if key in several and pyarrow.compute.any(pyarrow.compute.match_substring(text, ",")).as_py():
            lists = pyarrow.compute.split_pattern(text, ",")
            columns[key] = pa.ListArray.from_arrays(lists.offsets, lists.values, mask=absent)
        else:
            columns[key] = pa.ListArray.from_arrays(one_each, text, mask=absent)
    return pa.table(columns)


class _Utf8(io.RawIOBase):
    """tshark's output as valid UTF-8: a value cut at 2,047 bytes may end inside a character."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._output.read(size)
        pending = self._decoder.getstate()[0]
        if not pending and data.isascii():
            return data
        return self._decoder.decode(data, final=not data).encode()
