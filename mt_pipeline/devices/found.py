"""Labels of the devices that name themselves, and who says so.

Of what a device says, the first of RANKS is its label, and of several of a rank the first that it
said. Two devices have different labels: a name that they share is followed by the end of their
hardware addresses, and so is what only tells the kind of a device.
"""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.devices.inventory import LONGEST_LABEL
from mt_pipeline.devices.statements import (
    RANKS,
    VENDOR,
    Device,
    Rank,
    VendorOf,
    devices,
    vendor_name,
)

_END = 8
"""Characters of the end of a hardware address: three bytes, as Wireshark shows them."""


@dataclass(frozen=True)
class Found:
    """What a device is called.

    Attributes:
        label: its name.
        source: who says so, one of those of RANKS.
    """

    label: str
    source: str


class FoundDevices:
    """The devices of a capture.

    Args:
        known: all that are known, by hardware address.
        vendor_of: names the vendors of those that say nothing.
        taken: labels of the inventory, which no other device may have.
    """

    def __init__(
        self,
        known: Mapping[str, Device] = MappingProxyType({}),
        vendor_of: VendorOf = lambda _: None,
        *,
        taken: Container[str] = (),
    ) -> None:
        self.known = known
        self._vendor_of = vendor_of
        best = {hardware: _best(device) for hardware, device in known.items()}
        times = Counter(text for _, text in filter(None, best.values()))
        self._labels: dict[str, Found] = {}
        self._by_address: dict[str, Found] = {}
        for hardware, named in best.items():
            if named is None:
                continue
            rank, text = named
            tells_one = rank.what in ("name", "instance") and times[text] == 1
            label = text if tells_one and text not in taken else _with_end(text, hardware)
            self._labels[hardware] = Found(label, rank.source)
            for address in known[hardware].addresses:
                self._by_address.setdefault(address, self._labels[hardware])

    @classmethod
    def of(
        cls, announcements: pa.Table, vendor_of: VendorOf, *, taken: Container[str] = ()
    ) -> Self:
        """Find the devices in announcements; see `packets/announcements.py`."""
        return cls(devices(announcements, vendor_of), vendor_of, taken=taken)

    @classmethod
    def read(cls, path: Path, vendor_of: VendorOf, *, taken: Container[str] = ()) -> Self:
        """Find the devices in a file of announcements."""
        return cls.of(pyarrow.parquet.read_table(path), vendor_of, taken=taken)

    def label(self, hardware: str) -> Found | None:
        """Return what a device is called."""
        if hardware in self.known:
            return self._labels.get(hardware)
        vendor = vendor_name(hardware, self._vendor_of)
        return Found(_with_end(vendor, hardware), VENDOR.source) if vendor else None

    def by_hardware(self, hardware: str) -> Found | None:
        """Return what the end with a hardware address is called.

        None for a router: most packets with its hardware address are those of others.
        """
        device = self.known.get(hardware)
        return None if device and device.is_router else self.label(hardware)

    def by_address(self, address: str) -> Found | None:
        """Return what the device with this address of its own is called."""
        return self._by_address.get(address)

    def changed(self, before: "FoundDevices") -> tuple[set[str], set[str]]:
        """Return the hardware and the IP addresses that were called something else before."""
        hardware = self.known.keys() | before.known.keys()
        addresses = self._by_address.keys() | before._by_address.keys()
        return (
            {each for each in hardware if self.by_hardware(each) != before.by_hardware(each)},
            {each for each in addresses if self.by_address(each) != before.by_address(each)},
        )


def _best(device: Device) -> tuple[Rank, str] | None:
    return next(((rank, device.said[rank][0]) for rank in RANKS if device.said.get(rank)), None)


def _with_end(text: str, hardware: str) -> str:
    return f"{text[: LONGEST_LABEL - _END - 1].strip()} {hardware[-_END:]}"
