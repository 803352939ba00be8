"""Folds answers of QuestDB into the short lists that a person reads: the largest by name, the others as one line, and what is not known."""

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol as Like
from typing import TypeVar

from mt_pipeline.report.queries import ENCRYPTED, NO_PROTOCOL
from mt_pipeline.report.results import Local, Peer, Protocol, Slice
from mt_pipeline.report.timeline import Timeline

MOST_BARS = 15
MOST_LABELS = 7
"""Series with a name of their own: as many as there are colours that everybody can tell apart."""

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
    """Whatever counts packets and their bytes on the wire."""

    @property
    def packets(self) -> int:
        """How many packets."""
        ...

    @property
    def bytes(self) -> int:
        """How many bytes."""
        ...


C = TypeVar("C", bound=Counted)


@dataclass(frozen=True)
class Bar:
    """A line of a list. `is_ours` tells our words from what others chose as a name."""

    name: str
    packets: int
    bytes: int
    is_ours: bool = False


@dataclass(frozen=True)
class Device:
    """A device of the inventory, or another end without a public address.

    Attributes:
        label: its name in the inventory; None if it is not in there.
        hardware: its hardware addresses, if the captures have those.
        addresses: its addresses.
        peers: whom it exchanged most bytes with.
        sent: packets and bytes from it.
        received: those to it.
    """

    label: str | None
    hardware: Sequence[str]
    addresses: Sequence[str]
    peers: Sequence[str]
    sent: Bar
    received: Bar

    @property
    def name(self) -> str:
        """What it is listed by: the first of these that is known."""
        return self._names[0]

    @property
    def others(self) -> Sequence[str]:
        """What else it is known by."""
        return self._names[1:]

    @property
    def _names(self) -> Sequence[str]:
        return [*([self.label] if self.label else []), *self.hardware, *self.addresses]

    @property
    def bytes(self) -> int:
        """All bytes from it and to it."""
        return self.sent.bytes + self.received.bytes


@dataclass(frozen=True)
class Series:
    """A part of the traffic over time: bytes in each step, and which colour it has."""

    name: str
    values: Sequence[int]
    colour: int
    is_ours: bool = False


def total(rows: Iterable[Counted], name: str = "") -> Bar:
    """Add up."""
    rows = list(rows)
    return Bar(name, sum(row.packets for row in rows), sum(row.bytes for row in rows), is_ours=True)


def bars(rows: Iterable[C], name_of: Callable[[C], str | None], unknown: str) -> list[Bar]:
    """Add up by name; the largest come first, what has no name comes last."""
    groups = defaultdict[str | None, list[C]](list)
    for row in rows:
        groups[name_of(row)].append(row)
    nameless = groups.pop(None, [])
    named = [
        Bar(name or "", found.packets, found.bytes)
        for name, group in groups.items()
        if (found := total(group))
    ]
    named.sort(key=lambda bar: (-bar.bytes, bar.name))
    others = (
        [total(named[MOST_BARS:], f"{len(named) - MOST_BARS:,} others")]
        if len(named) > MOST_BARS
        else []
    )
    return [*named[:MOST_BARS], *others, *([total(nameless, unknown)] if nameless else [])]


def protocol_of(row: Protocol) -> str | None:
    """Name the protocol of a stream; TLS over UDP is what QUIC carries."""
    if row.protocol is None or row.protocol in NO_PROTOCOL:
        return None
    return _PROTOCOLS.get(
        "quic" if (row.ip_proto, row.protocol) == ("UDP", "tls") else row.protocol, row.protocol
    )


def secrecy_of(row: Protocol) -> str:
    """Say whether others on the way could read a stream."""
    if row.protocol in ENCRYPTED:
        return "encrypted"
    return "cannot be told" if protocol_of(row) is None else "plain"


def devices(rows: Iterable[Local], peers: Iterable[Peer] = ()) -> list[Device]:
    """Add up by device, else by hardware address, else by address; groups that many listen to are no device."""
    groups, friends = defaultdict[str, list[Local]](list), defaultdict[str, list[str]](list)
    for row in rows:
        name = row.device or row.hardware or _address(row)
        if name and (row.device or not _is_group(row)):
            groups[name].append(row)
    for peer in peers:
        friends[peer.who].append(peer.peer)
    found = [
        Device(
            group[0].device,
            sorted({row.hardware for row in group if row.hardware}),
            sorted(
                {address for row in group if (address := _address(row))},
                key=lambda text: (":" in text, ipaddress.ip_address(text).packed),
            ),
            friends[name],
            total(row for row in group if row.sent),
            total(row for row in group if not row.sent),
        )
        for name, group in groups.items()
    ]
    return sorted(
        found,
        key=lambda device: (-device.bytes, device.label or "", device.hardware, device.addresses),
    )


def series(timeline: Timeline, labels: Sequence[str], slices: Iterable[Slice]) -> list[Series]:
    """Lay slices out over the time: a series for each label, then what has another name, what has none, and what stays local."""
    values = {label: [0] * timeline.steps for label in labels}
    other, nameless, local = rest = [[0] * timeline.steps for _ in range(3)]
    for row in slices:
        place = timeline.places.get(row.step)
        if place is None:  # it was loaded while we asked
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
        return row.hardware[1:2] in set("13579bdf")  # the bit that Ethernet has for it
    address = ipaddress.ip_address(row.ipv4 or row.ipv6 or "::")
    return address.is_multicast or address == _BROADCAST
