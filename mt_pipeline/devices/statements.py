"""What the devices of a capture say of themselves: names, products, services, and their vendors.

`packets/announcements.py` collects it, and `found.py` makes labels of it.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from mt_pipeline.devices.inventory import LONGEST_LABEL
from mt_pipeline.packets.announcements import ADDRESS, OWN_ADDRESS

VendorOf = Callable[[str], str | None]
"""Returns the vendor of a hardware address, None if it is not known."""

_NO_ADDRESS = 3  # of a group, and not of a vendor
_GROUP, _NO_VENDOR = 1, 3

_SERVICE = re.compile(r"(?s)(?:(.+)\.)?(_[^.]+\._(?:tcp|udp))\.local\.?")
_LOCAL = re.compile(r"(?i)\.local\.?$")
_NETBIOS = re.compile(r"(?s)(.*)<([0-9a-f]{2})>.*")
_FILE_SERVICE = "20"
"""The service of a name of NetBIOS that is never a group's: it has files."""

_PRODUCT = re.compile(r"(?is).*?UPnP/[0-9.]+[, ]+(.+)")
_NO_NAMES = ("", "*", "localhost", "__msbrowse__")


@dataclass(frozen=True)
class Rank:
    """A kind of statement.

    Attributes:
        source: how it is said, as the columns of sources have it.
        what: what is said. A product, a service and a vendor are those of many devices.
    """

    source: str
    what: Literal["name", "instance", "product", "service", "vendor"] = "name"


DHCP, MDNS, NETBIOS, LLMNR = Rank("dhcp"), Rank("mdns"), Rank("netbios"), Rank("llmnr")
INSTANCE, SERVICE = Rank("mdns", "instance"), Rank("mdns", "service")
PRODUCT, VENDOR = Rank("ssdp", "product"), Rank("vendor", "vendor")

RANKS = (DHCP, MDNS, NETBIOS, LLMNR, INSTANCE, PRODUCT, SERVICE, VENDOR)
"""All kinds of statements, the best name of a device first."""


@dataclass(frozen=True)
class Device:
    """All that is known of a device.

    Attributes:
        hardware: its hardware address.
        said: what it says, by rank, in the order in which it was said first.
        addresses: its own addresses; without those of others whose packets it passes on.
        is_router: whether packets of several private addresses come from it.
    """

    hardware: str
    said: Mapping[Rank, tuple[str, ...]]
    addresses: tuple[str, ...]
    is_router: bool


def devices(announcements: pa.Table, vendor_of: VendorOf) -> dict[str, Device]:
    """Return the devices of a capture by hardware address.

    Args:
        announcements: see `packets/announcements.py`.
        vendor_of: names the vendors of hardware addresses.
    """
    said: dict[str, dict[Rank, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    addresses: dict[str, dict[str, list[str]]] = {
        kind: defaultdict(list) for kind in (ADDRESS, OWN_ADDRESS)
    }
    columns = (announcements[name].to_pylist() for name in ("hardware", "kind", "text"))
    for hardware, kind, text in zip(*columns, strict=True):
        if _first_byte(hardware) & _GROUP:
            continue
        texts = said[hardware]
        if kind in addresses:
            addresses[kind][hardware].append(text)
            continue
        for rank, name in _names(kind, text):
            if (cleaned := _clean(name)).lower() not in _NO_NAMES:
                texts[rank][cleaned] = None
    for hardware, texts in said.items():
        if vendor := vendor_name(hardware, vendor_of):
            texts[VENDOR][vendor] = None
    seen, own = addresses[ADDRESS], addresses[OWN_ADDRESS]
    return {
        hardware: Device(
            hardware,
            {rank: tuple(texts[rank]) for rank in RANKS if rank in texts},
            tuple(dict.fromkeys(own[hardware] + seen[hardware] * (len(seen[hardware]) == 1))),
            len(seen[hardware]) > 1,
        )
        for hardware, texts in said.items()
    }


def vendor_name(hardware: str, vendor_of: VendorOf) -> str | None:
    """Return the vendor of a hardware address, None if it is a group's or someone made it up."""
    vendor = None if _first_byte(hardware) & _NO_VENDOR else vendor_of(hardware)
    return vendor and _clean(vendor)


def _names(kind: str, text: str) -> Iterator[tuple[Rank, str]]:
    """Yield the names in a statement; the kinds are those of `packets/announcements.py`."""
    if kind in ("dhcp", "dhcp_fqdn"):
        yield DHCP, text
    elif kind == "mdns":
        yield MDNS, _LOCAL.sub("", text)
    elif kind == "mdns_service":
        yield from _service(text)
    elif kind == "mdns_instance":
        yield INSTANCE, text
    elif kind in ("nbns", "nbdgm"):
        match = _NETBIOS.fullmatch(text)
        if match and (kind == "nbdgm" or match[2] == _FILE_SERVICE):
            yield NETBIOS, match[1]
    elif kind == "llmnr":
        yield LLMNR, text
    elif kind == "ssdp":
        product = _PRODUCT.fullmatch(text)
        yield PRODUCT, product[1] if product else text


def _service(record: str) -> Iterator[tuple[Rank, str]]:
    """Yield the service in the name of a record, and what it is called there."""
    match = _SERVICE.fullmatch(record)
    if match and not match[2].startswith("_dns-sd"):  # that lists services
        yield SERVICE, match[2]
        if match[1] and not match[1].startswith("_"):  # subtypes of a service do
            yield INSTANCE, match[1]


def _clean(text: str) -> str:
    """Make a short line of printable characters of a text that anyone may have sent."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:LONGEST_LABEL].strip()


def _first_byte(hardware: str) -> int:
    try:
        return int(hardware[:2], 16)
    except ValueError:
        return _NO_ADDRESS
