"""Groups results of queries into short lists: the largest by name, all others, what is unknown."""

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol as Like
from typing import TypeVar

from mt_pipeline.report.results import Local, Peer, Protocol, Slice
from mt_pipeline.report.timeline import Timeline
from mt_pipeline.report.view import ENCRYPTED, NO_PROTOCOL

MOST_BARS = 15
MOST_LABELS = 7
"""Series with their own name: as many as there are colours that everybody can tell apart."""

REST = ("other names", "no name known", "local")
"""The series after those."""

_PROTOCOLS = {
    "dns": "DNS",
    "http": "HTTP without encryption",
    "mdns": "mDNS",
    "quic": "QUIC",
    "ssdp": "SSDP",
    "ssh": "SSH",
    "tls": "TLS",
    "wg": "WireGuard",
}
_BROADCAST = ipaddress.ip_address("255.255.255.255")


class Counted(Like):
    """Anything with a number of packets and of their bytes on the wire."""

    @property
    def packets(self) -> int:
        """Number of packets."""
        ...

    @property
    def bytes(self) -> int:
        """Number of bytes."""
        ...


C = TypeVar("C", bound=Counted)


@dataclass(frozen=True)
class Bar:
    """A line of a list. `is_ours` is true for a name of ours, false for one that others chose."""

    name: str
    packets: int
    bytes: int
    is_ours: bool = False


@dataclass(frozen=True)
class Device:
    """A device of the inventory, or another end without a public address.

    Attributes:
        label: its name in the inventory; None if it is not in the inventory.
        hardware: its hardware addresses, if the captures have any.
        addresses: its IP addresses.
        peers: the ends that it exchanged most bytes with.
        sent: packets and bytes that it sent.
        received: packets and bytes that it received.
    """

    label: str | None
    hardware: Sequence[str]
    addresses: Sequence[str]
    peers: Sequence[str]
    sent: Bar
    received: Bar

    @property
    def name(self) -> str:
        """Its label, else its first hardware address, else its first IP address."""
        return self._names[0]

    @property
    def others(self) -> Sequence[str]:
        """Its other names and addresses."""
        return self._names[1:]

    @property
    def _names(self) -> Sequence[str]:
        return [*([self.label] if self.label else []), *self.hardware, *self.addresses]

    @property
    def bytes(self) -> int:
        """Bytes sent and received."""
        return self.sent.bytes + self.received.bytes


@dataclass(frozen=True)
class Series:
    """A part of the traffic over time: bytes in each step, and the number of its colour."""

    name: str
    values: Sequence[int]
    colour: int
    is_ours: bool = False


def total(rows: Iterable[Counted], name: str = "") -> Bar:
    """Add up packets and bytes."""
    rows = list(rows)
    return Bar(name, sum(row.packets for row in rows), sum(row.bytes for row in rows), is_ours=True)


def bars(rows: Iterable[C], name_of: Callable[[C], str | None], unknown: str) -> list[Bar]:
    """Add up by name: the largest first, then all others, then rows without a name."""
    groups = defaultdict[str | None, list[C]](list)
    for row in rows:
        groups[name_of(row)].append(row)
    nameless = groups.pop(None, [])
    named = [replace(total(group, name or ""), is_ours=False) for name, group in groups.items()]
    named.sort(key=lambda bar: (-bar.bytes, bar.name))
    bars, others = named[:MOST_BARS], named[MOST_BARS:]
    if others:
        bars.append(total(others, f"{len(others):,} others"))
    if nameless:
        bars.append(total(nameless, unknown))
    return bars


def protocol_of(row: Protocol) -> str | None:
    """Return the name of a stream's protocol. TLS over UDP is a part of QUIC."""
    if row.protocol is None or row.protocol in NO_PROTOCOL:
        return None
    protocol = "quic" if (row.ip_proto, row.protocol) == ("UDP", "tls") else row.protocol
    return _PROTOCOLS.get(protocol, row.protocol)


def secrecy_of(row: Protocol) -> str:
    """Return whether others on the network could read a stream."""
    if row.protocol in ENCRYPTED:
        return "encrypted"
    return "cannot be told" if protocol_of(row) is None else "plain"


def devices(rows: Iterable[Local], peers: Iterable[Peer] = ()) -> list[Device]:
    """Add up by device, else by hardware address, else by IP address, without multicast groups."""
    groups, peers_by_name = defaultdict[str, list[Local]](list), defaultdict[str, list[str]](list)
    for row in rows:
        name = row.device or row.hardware or _address(row)
        if name and (row.device or not _is_group(row)):
            groups[name].append(row)
    for peer in peers:
        peers_by_name[peer.who].append(peer.peer)
    return sorted(
        (_device(group, peers_by_name[name]) for name, group in groups.items()),
        key=lambda device: (-device.bytes, device.label or "", device.hardware, device.addresses),
    )


def _device(rows: Sequence[Local], peers: Sequence[str]) -> Device:
    addresses = {address for row in rows if (address := _address(row))}
    return Device(
        rows[0].device,
        sorted({row.hardware for row in rows if row.hardware}),
        sorted(addresses, key=lambda text: (":" in text, ipaddress.ip_address(text).packed)),
        peers,
        total(row for row in rows if row.sent),
        total(row for row in rows if not row.sent),
    )


def series(timeline: Timeline, labels: Sequence[str], slices: Iterable[Slice]) -> list[Series]:
    """Return the bytes of each step: a series for each label, then those of REST."""
    values = {label: [0] * timeline.steps for label in labels}
    other, nameless, local = rest = [[0] * timeline.steps for _ in range(3)]
    for row in slices:
        place = timeline.places.get(row.step)
        if place is None:  # the row was loaded after the query for the timeline
            continue
        others = other if row.is_named else nameless if row.is_public else local
        (others if row.label is None else values[row.label])[place] += row.bytes
    named = [Series(label, steps, colour) for colour, (label, steps) in enumerate(values.items())]
    ours = [
        Series(name, steps, colour, is_ours=True)
        for colour, (name, steps) in enumerate(zip(REST, rest, strict=True), MOST_LABELS)
        if any(steps)
    ]
    return named + ours


def _address(row: Local) -> str | None:
    return row.ipv4 or (None if row.ipv6 == "::" else row.ipv6)


def _is_group(row: Local) -> bool:
    if row.hardware:
        return row.hardware[1:2] in set("13579bdf")  # Ethernet's group bit
    address = ipaddress.ip_address(row.ipv4 or row.ipv6 or "::")
    return address.is_multicast or address == _BROADCAST
