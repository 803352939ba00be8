"""What QuestDB says of an experiment, as records. Times are microseconds since 1970; `Unknown` and NULL are as in the columns."""

from dataclasses import dataclass

from mt_pipeline.schema.packets import UNKNOWN


@dataclass(frozen=True, slots=True)
class CaptureRows:
    """What of a capture can be read."""

    capture: str
    packets: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Busy:
    """When packets are, in one part of the time."""

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
    """Bytes of a label in one step, counted from 1970 on; without a label, of all that has another one (`is_named`) or none."""

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
    """Packets whose remote end is in the same place; degrees are NULL where only the country is known."""

    country: str | None
    city: str | None
    longitude: float | None
    latitude: float | None
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Local:
    """What a device of the inventory, or another end without a public address, sent, or was sent; a public end has no hardware address here."""

    device: str | None
    hardware: str | None
    ipv4: str | None
    ipv6: str | None
    sent: bool
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom such an end, by its device, hardware address or address, whichever is known first, exchanged most bytes with."""

    who: str
    peer: str


@dataclass(frozen=True, slots=True)
class Name:
    """Packets of the streams of a name; `names` is how many names there are in all."""

    name: str
    packets: int
    bytes: int
    names: int


@dataclass(frozen=True, slots=True)
class Destination:
    """Packets of a public address under a server name; `destinations` is how many there are in all."""

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
    """How many public addresses one step, counted from 1970 on, was the first to see."""

    step: int
    addresses: int


def known(text: str | None) -> str | None:
    """Take `Unknown` for what it is."""
    return None if text in (None, "", UNKNOWN) else text
