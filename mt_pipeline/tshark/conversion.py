"""tshark's tab-separated text as documents: blocks of packets, then the JSON of each packet.

Column output differs from `-T ek` in five ways that cannot be avoided:

- A value is cut at 2,047 bytes.
- A comma inside one of several values cannot be told from the separator.
- An empty value is absent.
- A backslash before a, b, f, n, r, t, v or three octal digits is read as tshark's escape of a
  control character; the same text in a name looks alike.
- The flags of TCP have three digits, `0x002`, and what tshark found out of a segment is `✓`, not
  `1`.

A field that is requested once (`Field.first_only`) has one value.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import IO

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from mt_pipeline.tshark import hellos
from mt_pipeline.tshark.fields import ALL_KEYS, FIELDS, Field

_CONTROL = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\([abfnrtv]|0(?!00)[0-3][0-7]|177)")

_NO_PACKET = r"^(systemd_journal|sysdig|falcobridge)(:|$)"
"""First dissectors of entries of a journal and of system calls. A custom block has neither a
dissector of its own nor a time."""

_PROTOCOLS = ALL_KEYS.index("frame_protocols")

_BLOCK_BYTES = 4 << 20
"""Of tshark's output: some ten thousand packets. Smaller blocks cost more time, larger ones more
memory."""


def blocks(output: IO[bytes], reader: ThreadPoolExecutor) -> Iterator[pa.RecordBatch]:
    """Yield tshark's packets in blocks: a column of text per field, empty where it is absent.

    A thread waits for tshark and parses the next block while the caller works on this one, so both
    are busy, and no more than these two are in memory.

    Args:
        output: of tshark.
        reader: has the thread.

    Raises:
        pa.ArrowInvalid: a line is not understood.
    """
    batches = _batches(output)
    following = reader.submit(next, batches, None)
    while (batch := following.result()) is not None:
        following = reader.submit(next, batches, None)
        yield _packets(_unescaped(batch))


def documents_of(
    connection: duckdb.DuckDBPyConnection, block: pa.RecordBatch
) -> Iterator[pa.Buffer]:
    """Yield the documents of a block as text, a line per packet."""
    members = []
    for field in FIELDS:
        text = block.column(field.key)
        lengths = pyarrow.compute.min_max(pyarrow.compute.binary_length(text))
        if lengths["max"].as_py():
            several = not field.first_only and _contains(text, ",")
            members.append(_Member(field, several, always=bool(lengths["min"].as_py())))
    line = _line(tuple(members))
    for chunk in connection.from_arrow(block).project(line).to_arrow_table().column(0).chunks:
        yield _text_of(chunk)


def lists(block: pa.RecordBatch, keys: Iterable[str]) -> pa.Table:
    """Return some fields of a block as lists of text, NULL where a packet lacks the field.

    Text is not copied for a field of which no packet has several values.
    """
    repeatable = {field.key for field in FIELDS if not field.first_only}
    single = pa.array(np.arange(block.num_rows + 1, dtype=np.int32))
    columns = {}
    for key in keys:
        text = block.column(key)
        if _is_empty(text):
            columns[key] = pa.nulls(len(text), pa.list_(pa.string()))
            continue
        absent = pyarrow.compute.equal(text, "")
        if key in repeatable and _contains(text, ","):
            split = pyarrow.compute.split_pattern(text, ",")
            columns[key] = pa.ListArray.from_arrays(split.offsets, split.values, mask=absent)
        else:
            columns[key] = pa.ListArray.from_arrays(single, text, mask=absent)
    return pa.table(columns)


def _batches(output: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Yield tshark's lines as they come, parsed a block at a time and none ahead."""
    rest = b""
    while data := output.read(_BLOCK_BYTES):
        lines, end, rest = (rest + data).rpartition(b"\n")
        if end:
            yield _parsed(lines + end)
    if rest:  # tshark was killed
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
    """Remove blocks of a pcapng that tshark numbers like packets; hardly any capture has one.

    What depends on the protocols alone is done once for each of the few values that they have.
    """
    encoded = batch.column("frame_protocols").dictionary_encode()
    protocols = hellos.without_gates(encoded.dictionary)
    if not protocols.equals(encoded.dictionary):
        batch = batch.set_column(_PROTOCOLS, "frame_protocols", protocols.take(encoded.indices))
    is_journal = pyarrow.compute.match_substring_regex(protocols, _NO_PACKET)
    has_no_dissector = pyarrow.compute.equal(protocols, "data")
    if not pyarrow.compute.any(pyarrow.compute.or_(is_journal, has_no_dissector)).as_py():
        return batch
    custom = pyarrow.compute.and_(
        has_no_dissector.take(encoded.indices),
        pyarrow.compute.equal(batch.column("frame_time_epoch"), ""),
    )
    others = pyarrow.compute.or_(is_journal.take(encoded.indices), custom)
    return batch.filter(pyarrow.compute.invert(others))


def _unescaped(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Undo what tshark does to values of columns.

    It aligns those of its own columns, and escapes control characters in text that others choose,
    which are rare.
    """
    for place, field in enumerate(FIELDS):
        column = batch.column(place)
        if field.built_in:
            trimmed = pyarrow.compute.ascii_ltrim_whitespace(column)
            batch = batch.set_column(place, field.key, trimmed)
        if field.text and _contains(column, "\\"):
            values = [_ESCAPE.sub(_control, value) for value in column.to_pylist()]
            batch = batch.set_column(place, field.key, pa.array(values, pa.string()))
    return batch


def _control(escape: re.Match[str]) -> str:
    letter = escape[1]
    return _CONTROL.get(letter) or chr(int(letter, 8))


def _contains(column: pa.Array, text: str) -> bool:
    """Return whether any value has a text of ASCII: one search instead of one for each value."""
    return text.encode() in _text_of(column).to_pybytes()


def _text_of(chunk: pa.Array) -> pa.Buffer:
    """Return the joined text of a column without copying it: Arrow stores it in one piece."""
    _, offsets, text = chunk.buffers()
    if text is None:  # all values are empty
        return pa.py_buffer(b"")
    ends = pa.Array.from_buffers(pa.int32(), chunk.offset + len(chunk) + 1, [None, offsets])
    first = ends[chunk.offset].as_py()
    return text.slice(first, ends[-1].as_py() - first)


def _is_empty(column: pa.Array) -> bool:
    """Return whether no packet has the field: most captures have a third of them."""
    return not pyarrow.compute.max(pyarrow.compute.binary_length(column)).as_py()


@dataclass(frozen=True)
class _Member:
    """A field of the documents of a block.

    Attributes:
        field: which one.
        several: whether a packet has several values of it.
        always: whether every packet has it.
    """

    field: Field
    several: bool
    always: bool

    def sql(self) -> str:
        """Return the SQL of its text. What no packet of the block needs would take a third more."""
        key = self.field.key
        if self.field.text and self.several:
            return f"""'"{key}":', to_json(string_split({key}, ','))"""
        if self.field.text:
            return f"""'"{key}":[', to_json({key}), ']'"""
        values = f"""replace({key}, ',', '","')""" if self.several else key
        return f"""'"{key}":["', {values}, '"]'"""


@lru_cache(maxsize=100)
def _line(members: tuple[_Member, ...]) -> str:
    """Return the SQL that turns a row of columns into a line with its document.

    Fields that no packet has need not be given. It is one `concat`: a chain of `||` copies the text
    at each link.
    """
    # Milliseconds, as in ek. Newer versions of tshark print ISO 8601, there too; that stays.
    timestamp = (
        "CASE WHEN contains(frame_time_epoch, ':') THEN frame_time_epoch "
        "ELSE replace(frame_time_epoch, '.', '')[:-7] END"
    )
    first, *others = members  # every packet has its number
    layers = ", ".join(
        [
            first.sql(),
            *(
                f"',', {member.sql()}"
                if member.always
                else f"CASE WHEN {member.field.key} <> '' THEN concat(',', {member.sql()}) END"
                for member in others
            ),
        ]
    )
    return (
        f"""concat('{{"timestamp":"', {timestamp}, '","layers":{{', {layers}, """
        """'}}', chr(10))"""
    )
