"""The devices of several captures that name themselves, as the beginning of an inventory."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from mt_pipeline.devices.found import FoundDevices
from mt_pipeline.devices.statements import RANKS, VENDOR, Device


def together(captures: Iterable[Mapping[str, Device]]) -> dict[str, Device]:
    """Join what is known of devices in several captures, in their order.

    A device is a router if it is one in any of them: one that has another address in each is none.
    """
    joined: dict[str, list[Device]] = {}
    for devices in captures:
        for hardware, device in devices.items():
            joined.setdefault(hardware, []).append(device)
    return {hardware: _joined(hardware, devices) for hardware, devices in sorted(joined.items())}


def inventory(found: FoundDevices) -> Iterator[str]:
    """Yield the lines of an inventory in TOML, in the format of MT_DEVICES.

    What the devices say is in comments. So is a router: its hardware address is on packets of
    others, so its addresses identify it.
    """
    for hardware, device in found.known.items():
        named = found.label(hardware)
        if named is None:
            continue
        yield ""
        for rank, texts in device.said.items():
            what = (
                rank.source if rank.what in ("name", VENDOR.what) else f"{rank.source} {rank.what}"
            )
            yield f"# {what}: {', '.join(texts)}"
        if device.addresses:
            yield f"# address: {', '.join(device.addresses)}"
        if not device.is_router:
            yield from _table(named.label, "mac", [hardware])
        elif device.addresses:
            yield f"# {hardware} passes on packets of others"
            yield from _table(named.label, "address", device.addresses)
        else:
            yield f"# {hardware} passes on packets of others, and its own address is not known"


def _joined(hardware: str, devices: Sequence[Device]) -> Device:
    said = {
        rank: tuple(dict.fromkeys(chain.from_iterable(each.said.get(rank, ()) for each in devices)))
        for rank in RANKS
    }
    return Device(
        hardware,
        {rank: texts for rank, texts in said.items() if texts},
        tuple(dict.fromkeys(chain.from_iterable(each.addresses for each in devices))),
        any(each.is_router for each in devices),
    )


def _table(label: str, name: str, values: Sequence[str]) -> Iterator[str]:
    # What is printable in a string of JSON is the same in one of TOML.
    yield "[[device]]"
    yield f"label = {json.dumps(label, ensure_ascii=False)}"
    yield f"{name} = {json.dumps(values[0] if len(values) == 1 else values)}"
