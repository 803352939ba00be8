"""Results of the queries of a report, as records.

Times are microseconds since 1970; `Unknown` and NULL are as in the columns.
"""

from dataclasses import dataclass

from mt_pipeline.schema.packets import UNKNOWN


@dataclass(frozen=True, slots=True)
class CaptureRows:
    """Sums of all rows of a capture."""

    capture: str
    packets: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Time of the first and of the last packet in a part of the time."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Remote:
    """Packets with the same answers for their remote end and their server name."""

    application: str | None
    category: str | None
    country: str | None
    provider: str | None
    has_city: bool
    has_name: bool
    name_application: str | None
    name_category: str | None
    name_provider: str | None
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of a label in a step, counted from 1970.

    Without a label: bytes of all other labels (`is_named`), or of packets that have none.
    """

    step: int
    is_public: bool
    is_named: bool
    label: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Protocol:
    """Streams in which tshark saw the same protocol, or packets without a stream."""

    ip_proto: str
    protocol: str | None
    is_public: bool
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Packets with a remote end in a place; degrees are NULL where only the country is known."""

    country: str | None
    city: str | None
    longitude: float | None
    latitude: float | None
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Local:
    """Packets from or to a device of the inventory, or another end without a public address.

    `hardware` is NULL for a device with a public address.
    """

    device: str | None
    hardware: str | None
    ipv4: str | None
    ipv6: str | None
    sent: bool
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Peer:
    """A label or end with which a `Local` exchanged most bytes.

    `who` is its device, else its hardware address, else its IP address.
    """

    who: str
    peer: str


@dataclass(frozen=True, slots=True)
class Name:
    """Packets of the streams of a name; `names` is the number of all names."""

    name: str
    packets: int
    bytes: int
    names: int


@dataclass(frozen=True, slots=True)
class Destination:
    """Packets of a public address and server name; `destinations` is the number of all of these."""

    ipv4: str | None
    ipv6: str | None
    name: str
    application: str | None
    name_application: str | None
    country: str | None
    provider: str | None
    name_provider: str | None
    packets: int
    bytes: int
    first: int
    last: int
    destinations: int


@dataclass(frozen=True, slots=True)
class New:
    """Number of public addresses that first appear in a step, counted from 1970."""

    step: int
    addresses: int


def known(text: str | None) -> str | None:
    """Return the text, or None if it is empty or `Unknown`."""
    return None if text in (None, "", UNKNOWN) else text
