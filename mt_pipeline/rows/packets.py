"""The rows of a capture: typed packets joined with the answers for their endpoints, batch by batch."""

import socket
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mt_pipeline.captures.naming import label_of
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.packets import typed
from mt_pipeline.schema.packets import COLUMNS, ORIGINAL_COLUMNS, UNKNOWN, Origin

BATCH = 80_000
"""Rows in a batch. QuestDB compiles each INSERT anew, which costs it as much as 20,000 rows; its memory grows with a larger batch."""


_ADDRESS, _NAME = "address", "name"

_FAMILIES = {
    f"{ip}_{end}": family
    for ip, family in (("ip", socket.AF_INET), ("ipv6", socket.AF_INET6))
    for end in ("src", "dst")
}

_FIELDS = {name: {column.source.partition(".")[2] for column in group if column.origin is Origin.ANSWER} - {"type"} for name, group in
           {"all": COLUMNS, "original": ORIGINAL_COLUMNS}.items()}  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """What the rows of a capture, of packets and of flows, are made of.

    Attributes:
        packets: typed packets of the packets room.
        sums: of these, by second and conversation.
        names: what each stream of them was called.
        answers: of the enrichment room, one row for every public endpoint of these packets.
    """

    packets: Path
    sums: Path
    names: Path
    answers: Path


def rows(
    sources: Sources, *, capture: str, experiment: str, devices: Devices | None = None
) -> Generator[pa.RecordBatch, None, None]:
    """Join the packets of a capture with the answers, and say which devices their ends are; nothing is done before the first is asked for.

    Args:
        sources: all Parquet.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory, if there is one.

    Yields:
        Record batches with all of COLUMNS, text as dictionaries, and `skipped`, why a packet cannot be stored (NULL: it can).
    """
    answers = _Answers(pyarrow.parquet.read_table(sources.answers))
    given = {"capture": capture, "experiment": experiment, "label": label_of(capture)}
    with typed.connection(sources.packets) as connection:
        for batch in typed.rows(connection, sources.packets, sources.names).to_arrow_reader(BATCH):
            yield _complete(batch, answers, given, devices or Devices())


def months(sources: Sources) -> frozenset[str]:
    """Say in which months the packets of a capture lie, of those that can be stored, as `2023-11`."""
    with typed.connection(sources.packets) as connection:
        distinct = "SELECT DISTINCT date_trunc('month', ts) AS month FROM read_parquet(?) WHERE skipped IS NULL"
        found = connection.execute(
            f"SELECT strftime(month, '%Y-%m') FROM ({distinct})", [str(sources.packets)]
        ).fetchall()
    return frozenset(month for (month,) in found)


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Make one batch of several: to QuestDB, many small ones are dearer."""
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return next(iter(table.to_batches()), batches[0])


class _Answers:
    """The answers of a capture, by field, and which of them an endpoint has.

    Two more rows than there are endpoints: the last but one is of an address that is none of them, the last of no address or name at all.
    """

    def __init__(self, answers: pa.Table) -> None:
        self._strangers = {_ADDRESS: answers.num_rows, _NAME: answers.num_rows + 1}
        self._nobody = answers.num_rows + 1
        kinds = answers["kind"].combine_chunks()
        rows = pa.array(range(answers.num_rows), pa.int32())
        self._rows = {kind: rows.filter(pc.equal(kinds, kind)) for kind in self._strangers}
        self._endpoints = {
            kind: answers["endpoint"].combine_chunks().take(of_kind)
            for kind, of_kind in self._rows.items()
        }
        self._fields = {
            name: self._field(name, answers[name].combine_chunks()) for name in _FIELDS["all"]
        }
        # The endpoints of a capture are exactly its public addresses (packets/endpoints.py), so being one decides.
        self._fields["type"] = pa.array(
            ["PUBLIC"] * answers.num_rows + ["LOCAL", UNKNOWN], pa.string()
        ).dictionary_encode()

    def places(self, kind: str, endpoints: pa.DictionaryArray) -> pa.Array:
        """Find the rows of endpoints; each distinct one is looked up once."""
        looked_up = (
            self._rows[kind]
            .take(pc.index_in(endpoints.dictionary, self._endpoints[kind]))
            .fill_null(self._strangers[kind])
        )
        return looked_up.take(endpoints.indices).fill_null(self._nobody)

    def field(self, name: str, places: pa.Array) -> pa.Array:
        """Say one field of these rows."""
        values = self._fields[name]
        if isinstance(values, pa.DictionaryArray):
            return pa.DictionaryArray.from_arrays(values.indices.take(places), values.dictionary)
        return values.take(places)

    @staticmethod
    def _field(name: str, values: pa.Array) -> pa.Array:
        if not pa.types.is_string(values.type):
            return pa.concat_arrays([values, pa.nulls(2, values.type)])
        values = pa.concat_arrays([_storable(values), pa.nulls(2, values.type)])
        return (
            values.fill_null(UNKNOWN) if name in _FIELDS["original"] else values
        ).dictionary_encode()


def _complete(
    batch: pa.RecordBatch, answers: _Answers, given: dict[str, str | None], devices: Devices
) -> pa.RecordBatch:
    names = batch.schema.names
    packet = {
        name: encoded(values) if pa.types.is_string(values.type) else values
        for name, values in zip(names, batch.columns, strict=True)
    }
    packet |= {name: _addresses(packet[name], family) for name, family in _FAMILIES.items()}
    places = {
        "src": answers.places(_ADDRESS, packet["address_src"]),
        "dst": answers.places(_ADDRESS, packet["address_dst"]),
        "sni": answers.places(_NAME, _as_asked(packet["tls_sni"])),
    }
    columns = {}
    for column in COLUMNS:
        if column.origin in (Origin.PACKET, Origin.STREAM):
            columns[column.name] = packet[column.name]
        elif column.origin is Origin.ANSWER:
            end, _, field = column.source.partition(".")
            columns[column.name] = answers.field(field, places[end])
        elif column.origin is Origin.DEVICE:
            columns[column.name] = _device(
                batch, column.source, places[column.source], answers, devices
            )
        else:
            columns[column.name] = _repeated(given[column.name], batch.num_rows)
    return pa.RecordBatch.from_pydict({**columns, "skipped": packet["skipped"]})


def _device(
    batch: pa.RecordBatch, end: str, places: pa.Array, answers: _Answers, devices: Devices
) -> pa.DictionaryArray:
    """Look up one end; it serves a stream if it has the lower port."""
    port, other = batch[f"port_{end}"], batch[f"port_{'dst' if end == 'src' else 'src'}"]
    named = pc.and_(pc.less(port, other), pc.not_equal(batch["tls_sni"], UNKNOWN))
    return devices.of(
        hardware=batch[f"eth_{end}"],
        public=pc.equal(answers.field("type", places).cast(pa.string()), "PUBLIC"),
        addresses=batch[f"address_{end}"],
        names=pc.if_else(named, batch["tls_sni"], None),
    ).dictionary_encode()


def _repeated(text: str | None, times: int) -> pa.DictionaryArray:
    """Repeat the same text, or nothing, in all rows."""
    if text is None:
        return pa.nulls(times, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), times), [text])


def encoded(text: pa.Array) -> pa.DictionaryArray:
    """Say each distinct text once, as it can be stored."""
    values = text.dictionary_encode()
    odd = pc.any(pc.match_substring(values.dictionary, "\0")).as_py()
    return _storable(text).dictionary_encode() if odd else values


def _addresses(text: pa.DictionaryArray, family: socket.AddressFamily) -> pa.DictionaryArray:
    """Take out what is no address, such as one that tshark cut: QuestDB would refuse all rows for it."""
    known = [
        address if _is_address(address, family) else None for address in text.dictionary.to_pylist()
    ]
    return (
        text
        if None not in known
        else pa.array(known, pa.string()).take(text.indices).dictionary_encode()
    )


def _is_address(text: str, family: socket.AddressFamily) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def _storable(text: pa.Array) -> pa.Array:
    """Take out NUL, which no symbol holds; what is empty then is nothing."""
    text = pc.replace_substring(text, "\0", "")
    return pc.if_else(pc.equal(text, ""), None, text)


def _as_asked(names: pa.DictionaryArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        names.indices, pc.utf8_rtrim(pc.utf8_lower(names.dictionary), ".")
    )
