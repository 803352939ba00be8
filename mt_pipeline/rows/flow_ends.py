"""What is known of the ends of flows beside their answers: devices, and who runs the remote end."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment.owners.remote_ends import RemoteEnds
from mt_pipeline.rows.packets import encoded, repeated
from mt_pipeline.schema.flows import FLOW_COLUMNS

_OWNERS = ("asn", "organisation", "party", "tracker")
_APPLICATION = ("app_tag", "app_category_tag")


def complete(
    batch: pa.RecordBatch,
    constants: Mapping[str, str | None],
    devices: Devices,
    remote_ends: RemoteEnds | None,
) -> pa.RecordBatch:
    """Add what is known of the capture and of the ends, and encode text as dictionaries.

    Args:
        batch: FLOW_COLUMNS without constants, `local_is_public` and `remote_is_public`.
        constants: columns that have one value throughout: `experiment`, `capture`, `label`.
        devices: the inventory, and devices that name themselves.
        remote_ends: who runs the remote ends; without it, their columns are NULL.

    Returns:
        FLOW_COLUMNS alone.
    """
    batch = _with_devices(batch, devices)
    if remote_ends:
        batch = _with_owners(batch, constants["experiment"] or "", remote_ends)
    same = {name: repeated(text, batch.num_rows) for name, text in constants.items()}
    names = [column.name for column in FLOW_COLUMNS]
    columns = (same[name] if name in same else batch[name] for name in names)
    storable = [
        encoded(column) if pa.types.is_string(column.type) else column for column in columns
    ]
    return pa.RecordBatch.from_arrays(storable, names)


def _with_devices(batch: pa.RecordBatch, devices: Devices) -> pa.RecordBatch:
    """Add the devices of both ends."""
    for end, other in (("local", "remote"), ("remote", "local")):
        serves = pc.less(batch[f"port_{end}"], batch[f"port_{other}"])
        found = devices.of(
            hardware=batch[f"eth_{end}"],
            public=batch[f"{end}_is_public"],
            addresses=batch[end],
            names=pc.if_else(serves, batch["tls_sni"], None),
        )
        batch = _replaced(batch, f"device_{end}", found.labels)
        batch = _replaced(batch, f"device_{end}_source", found.sources)
    return batch


def _with_owners(batch: pa.RecordBatch, experiment: str, remote_ends: RemoteEnds) -> pa.RecordBatch:
    """Add who runs the remote ends."""
    owners = remote_ends.look_up(
        experiment=experiment,
        addresses=pc.if_else(batch["remote_is_public"], batch["remote"], None),
        names=batch["remote_name"],
        devices=batch["device_local"],
    )
    for name in _OWNERS:
        batch = _replaced(batch, f"remote_{name}", owners[name])
    return _with_applications(batch, owners)


def _with_applications(batch: pa.RecordBatch, owners: pa.RecordBatch) -> pa.RecordBatch:
    """Add the applications that networks serve, where no more than the protocol is known."""
    is_open = pc.fill_null(pc.equal(batch["app_source"], "protocol"), True)
    is_known = pc.and_(is_open, pc.is_valid(owners["app_tag"]))
    for name in _APPLICATION:
        batch = _replaced(batch, name, pc.if_else(is_known, owners[name], batch[name]))
    return _replaced(batch, "app_source", pc.if_else(is_known, "network", batch["app_source"]))


def _replaced(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), name, values)
