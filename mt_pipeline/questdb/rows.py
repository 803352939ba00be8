"""The rows of a capture: typed packets joined with the answers for their endpoints, batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from mt_pipeline.columns import COLUMNS, ORIGINAL_COLUMNS, UNKNOWN, Origin
from mt_pipeline.enrichment.devices import Devices
from mt_pipeline.packets import typed

BATCH = 20_000
"""Rows in a batch: some 20 MB on the way to QuestDB."""

_FIELDS = {name: {column.source.partition(".")[2] for column in group if column.origin is Origin.ANSWER} - {"type"} for name, group in
           {"all": COLUMNS, "original": ORIGINAL_COLUMNS}.items()}  # fmt: skip

# Which row of the answers belongs to an endpoint: the last two rows stand for an address that is none of the endpoints, and for none at all.
_JOINED = """
SELECT t.*,
    coalesce(src.place, CASE WHEN t.address_src IS NULL THEN $nobody ELSE $other END) AS src,
    coalesce(dst.place, CASE WHEN t.address_dst IS NULL THEN $nobody ELSE $other END) AS dst,
    coalesce(sni.place, $nobody) AS sni
FROM typed t
LEFT JOIN places src ON src.kind = 'address' AND src.endpoint = t.address_src
LEFT JOIN places dst ON dst.kind = 'address' AND dst.endpoint = t.address_dst
LEFT JOIN places sni ON sni.kind = 'name' AND sni.endpoint = rtrim(lower(t.tls_sni), '.')
"""


@contextmanager
def rows(
    packets: Path, names: Path, enrichment: Path, *, capture: str, experiment: str, devices: Devices | None = None
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Join the packets of a capture with the answers, and say which devices their ends are.

    Args:
        packets: typed packets of the packets room.
        names: what each stream of them was called.
        enrichment: Parquet of the enrichment room, one row for every public endpoint of these packets.
        capture: the capture key.
        experiment: its experiment.
        devices: the inventory, if there is one.

    Yields:
        Record batches with all of COLUMNS and `skipped`, why a packet cannot be stored (NULL: it can).
    """
    answers = pyarrow.parquet.read_table(enrichment)
    table = _with_strangers(answers)
    given = {"capture": capture, "experiment": experiment}
    with typed.connection(packets) as connection:
        typed.rows(connection, packets, names).create_view("typed")
        places = answers.select(["kind", "endpoint"]).append_column("place", pa.array(range(answers.num_rows), pa.int32()))
        connection.register("places", places)
        joined = connection.sql(_JOINED, params={"other": answers.num_rows, "nobody": answers.num_rows + 1})
        yield (_complete(batch, table, given, devices or Devices()) for batch in joined.to_arrow_reader(BATCH))


def _with_strangers(answers: pa.Table) -> dict[str, pa.Array]:
    """List the fields of the answers, `type` among them, with two rows more: an address that is no endpoint, and no address."""
    fields = {}
    for name in _FIELDS["all"]:
        values = answers[name].combine_chunks()
        if pa.types.is_string(values.type):
            values = pyarrow.compute.replace_substring(values, "\0", "")  # no symbol holds one
        values = pa.concat_arrays([values, pa.nulls(2, values.type)])
        fields[name] = pyarrow.compute.fill_null(values, UNKNOWN) if name in _FIELDS["original"] and pa.types.is_string(values.type) else values
    # The endpoints of a capture are exactly its public addresses (packets/endpoints.py), so being one decides.
    fields["type"] = pa.array(["PUBLIC"] * answers.num_rows + ["LOCAL", UNKNOWN], pa.string())
    return fields


def _complete(batch: pa.RecordBatch, answers: dict[str, pa.Array], given: dict[str, str], devices: Devices) -> pa.RecordBatch:
    columns = {}
    for column in COLUMNS:
        if column.origin in (Origin.PACKET, Origin.STREAM):
            columns[column.name] = batch[column.name]
        elif column.origin is Origin.ANSWER:
            end, _, field = column.source.partition(".")
            columns[column.name] = answers[field].take(batch[end])
        elif column.origin is Origin.DEVICE:
            columns[column.name] = _device(batch, column.source, columns[f"ip_{column.source}_type"], devices)
        else:
            columns[column.name] = pa.repeat(pa.scalar(given[column.name]), batch.num_rows)
    return pa.RecordBatch.from_pydict({**columns, "skipped": batch["skipped"]})


def _device(batch: pa.RecordBatch, end: str, types: pa.Array, devices: Devices) -> pa.Array:
    """Look up one end; it serves a stream if it has the lower port."""
    port, other = batch[f"port_{end}"], batch[f"port_{'dst' if end == 'src' else 'src'}"]
    named = pyarrow.compute.and_(pyarrow.compute.less(port, other), pyarrow.compute.not_equal(batch["tls_sni"], UNKNOWN))
    return devices.of(
        hardware=batch[f"eth_{end}"],
        public=pyarrow.compute.equal(types, "PUBLIC"),
        addresses=batch[f"address_{end}"],
        names=pyarrow.compute.if_else(named, batch["tls_sni"], None),
    )
