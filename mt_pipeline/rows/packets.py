"""The packet rows of a capture: typed packets joined with the answers, batch by batch."""

import socket
from collections.abc import Generator, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.captures.naming import label_of
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.packets import typed
from mt_pipeline.rows.sources import Sources
from mt_pipeline.schema.packets import (
    COLUMNS,
    IN_PACKETS,
    ORIGINAL_COLUMNS,
    UNKNOWN,
    Column,
    Origin,
)

BATCH = 80_000
"""Rows in a batch.

QuestDB compiles every INSERT, which costs as much as some thousand rows. Larger batches need more
of its memory.
"""

_ADDRESS, _NAME = "address", "name"

_FAMILIES = {
    f"{ip}_{end}": family
    for ip, family in (("ip", socket.AF_INET), ("ipv6", socket.AF_INET6))
    for end in ("src", "dst")
}


def _answer_fields(columns: Sequence[Column]) -> frozenset[str]:
    """List the fields of an answer that columns show, without its type, which packets decide."""
    sources = (column.source for column in columns if column.origin is Origin.ANSWER)
    return frozenset(source.partition(".")[2] for source in sources) - {"type"}


ANSWER_FIELDS = _answer_fields(COLUMNS)
_ORIGINAL_FIELDS = _answer_fields(ORIGINAL_COLUMNS)


def rows(
    sources: Sources,
    *,
    capture: str,
    experiment: str,
    devices: Devices | None = None,
    batch_rows: int = BATCH,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the packets of a capture with the answers for their endpoints and their devices.

    Args:
        sources: the Parquet files to read.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory and the devices that name themselves, if there are any.
        batch_rows: rows in a batch.

    Yields:
        Record batches with all of COLUMNS, text as dictionaries, and `skipped`: why a packet
        cannot be stored, NULL if it can.
    """
    with typed.connection(sources.packets) as connection:
        yield from completed(
            typed.rows(connection, sources.packets, sources.names),
            pyarrow.parquet.read_table(sources.answers),
            capture=capture,
            experiment=experiment,
            devices=devices,
            batch_rows=batch_rows,
        )


def completed(
    packets: duckdb.DuckDBPyRelation,
    answers: pa.Table,
    *,
    capture: str,
    experiment: str,
    devices: Devices | None = None,
    batch_rows: int = BATCH,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield rows like `rows`.

    Args:
        packets: as `typed.rows` returns them.
        answers: a row for every public endpoint of these packets.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory and the devices that name themselves, if there are any.
        batch_rows: rows in a batch.
    """
    known = _Answers(answers)
    constants = {"capture": capture, "experiment": experiment, "label": label_of(capture)}
    for batch in packets.to_arrow_reader(batch_rows):
        yield _complete(batch, known, constants, Devices() if devices is None else devices)


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return one batch made of several: many small ones cost QuestDB more."""
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return next(iter(table.to_batches()), batches[0])


class _Answers:
    """The answers of a capture, by field and by endpoint.

    Two rows follow those of the endpoints: one for an address without an answer, one for a packet
    without an address or name.
    """

    def __init__(self, answers: pa.Table) -> None:
        self._unanswered = {_ADDRESS: answers.num_rows, _NAME: answers.num_rows + 1}
        self._absent = answers.num_rows + 1
        kinds = answers["kind"].combine_chunks()
        endpoints = answers["endpoint"].combine_chunks()
        numbers = pa.array(range(answers.num_rows), pa.int32())
        self._rows = {kind: numbers.filter(pc.equal(kinds, kind)) for kind in self._unanswered}
        self._endpoints = {kind: endpoints.take(rows) for kind, rows in self._rows.items()}
        self._fields = {
            name: self._field(name, answers[name].combine_chunks()) for name in ANSWER_FIELDS
        }
        # An address is public if it has an answer: the endpoints of a capture are exactly its
        # public addresses (packets/endpoints.py).
        self._fields["type"] = pa.array(
            ["PUBLIC"] * answers.num_rows + ["LOCAL", UNKNOWN], pa.string()
        ).dictionary_encode()

    def rows(self, kind: str, endpoints: pa.DictionaryArray) -> pa.Array:
        """Return the row number of each endpoint; look up each distinct endpoint once."""
        distinct = (
            self._rows[kind]
            .take(pc.index_in(endpoints.dictionary, self._endpoints[kind]))
            .fill_null(self._unanswered[kind])
        )
        return distinct.take(endpoints.indices).fill_null(self._absent)

    def field(self, name: str, rows: pa.Array) -> pa.Array:
        """Return a field of these rows."""
        values = self._fields[name]
        if isinstance(values, pa.DictionaryArray):
            return pa.DictionaryArray.from_arrays(values.indices.take(rows), values.dictionary)
        return values.take(rows)

    @staticmethod
    def _field(name: str, values: pa.Array) -> pa.Array:
        if not pa.types.is_string(values.type):
            return pa.concat_arrays([values, pa.nulls(2, values.type)])
        values = pa.concat_arrays([_storable(values), pa.nulls(2, values.type)])
        if name in _ORIGINAL_FIELDS:
            values = values.fill_null(UNKNOWN)
        return values.dictionary_encode()


def _complete(
    batch: pa.RecordBatch, answers: _Answers, constants: dict[str, str | None], devices: Devices
) -> pa.RecordBatch:
    """Make a batch of rows from a batch of typed packets."""
    names = batch.schema.names
    packet = {
        name: encoded(values) if pa.types.is_string(values.type) else values
        for name, values in zip(names, batch.columns, strict=True)
    }
    packet |= {name: _addresses(packet[name], family) for name, family in _FAMILIES.items()}
    answer_rows = {
        "src": answers.rows(_ADDRESS, packet["address_src"]),
        "dst": answers.rows(_ADDRESS, packet["address_dst"]),
        "sni": answers.rows(_NAME, _as_endpoints(packet["tls_sni"])),
    }
    columns = {}
    for column in COLUMNS:
        if column.origin in IN_PACKETS:
            columns[column.name] = packet[column.name]
        elif column.origin is Origin.ANSWER:
            end, _, field = column.source.partition(".")
            columns[column.name] = answers.field(field, answer_rows[end])
        elif column.origin is Origin.DEVICE:
            types = answers.field("type", answer_rows[column.source])
            columns[column.name] = _device(batch, column.source, types, devices)
        else:
            columns[column.name] = repeated(constants[column.name], batch.num_rows)
    return pa.RecordBatch.from_pydict({**columns, "skipped": packet["skipped"]})


def _device(
    batch: pa.RecordBatch, end: str, types: pa.Array, devices: Devices
) -> pa.DictionaryArray:
    """Look up the devices of one end. The end with the lower port has the server name."""
    port, other = batch[f"port_{end}"], batch[f"port_{'dst' if end == 'src' else 'src'}"]
    named = pc.and_(pc.less(port, other), pc.not_equal(batch["tls_sni"], UNKNOWN))
    return devices.of(
        hardware=batch[f"eth_{end}"],
        public=pc.equal(types.cast(pa.string()), "PUBLIC"),
        addresses=batch[f"address_{end}"],
        names=pc.if_else(named, batch["tls_sni"], None),
    ).labels.dictionary_encode()


def repeated(text: str | None, times: int) -> pa.DictionaryArray:
    """Repeat a text, or NULL, so many times."""
    if text is None:
        return pa.nulls(times, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), times), [text])


def encoded(text: pa.Array) -> pa.DictionaryArray:
    """Encode text as a dictionary, without NUL."""
    values = text.dictionary_encode()
    has_nul = pc.any(pc.match_substring(values.dictionary, "\0")).as_py()
    return _storable(text).dictionary_encode() if has_nul else values


def _addresses(text: pa.DictionaryArray, family: socket.AddressFamily) -> pa.DictionaryArray:
    """Replace what is no address by NULL, such as text that tshark truncated.

    QuestDB would refuse the entire batch otherwise.
    """
    addresses = [
        address if _is_address(address, family) else None for address in text.dictionary.to_pylist()
    ]
    if None not in addresses:
        return text
    return pa.array(addresses, pa.string()).take(text.indices).dictionary_encode()


def _is_address(text: str, family: socket.AddressFamily) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def _storable(text: pa.Array) -> pa.Array:
    """Remove NUL, which QuestDB stores in no symbol; empty text becomes NULL."""
    text = pc.replace_substring(text, "\0", "")
    return pc.if_else(pc.equal(text, ""), None, text)


def _as_endpoints(names: pa.DictionaryArray) -> pa.DictionaryArray:
    """Write server names as the endpoints that providers are asked about."""
    return pa.DictionaryArray.from_arrays(
        names.indices, pc.utf8_rtrim(pc.utf8_lower(names.dictionary), ".")
    )
