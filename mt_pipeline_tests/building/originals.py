"""Captures of every format that frames are cut from, each with what its frames are.

Bytes, times and lengths are known from here, not from a program that reads the files.
"""

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline_tests.building.files import (
    LINUX_COOKED,
    START_NS,
    Frame,
    compress,
    cut,
    write_pcap,
    write_pcapng,
)
from mt_pipeline_tests.building.odd import giant, linux_cooked
from mt_pipeline_tests.building.traffic import arp, dns, mdns, ping, tls_session

KEYS = b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\n"
"""A line of a key log, as a block of secrets has it."""
TLS_KEY_LOG = 0x544C534B


@dataclass(frozen=True)
class Original:
    """A frame as it was captured: bytes, time in nanoseconds, bytes on the wire, link type."""

    data: bytes
    time_ns: int
    wire_length: int
    link_type: int


def frames(seed: int, count: int = 40, *, link_type: int | None = None) -> list[Frame]:
    """Return frames of households, in no order of time, some with the same time, some cut."""
    chance = random.Random(seed)  # noqa: S311
    data = [*tls_session(f"host{seed}.example.com"), *dns(f"host{seed}.example.org")]
    data += [*arp(), *ping(), *mdns(), giant(70_000)]
    if link_type == LINUX_COOKED:
        data = linux_cooked(data)
    times = [START_NS + chance.randrange(0, 10**9) for _ in range(count)]
    times[count // 2] = times[0]
    return [
        Frame(data[index % len(data)], time, link_type=link_type)
        for index, time in enumerate(times)
    ]


def originals(folder: Path) -> Mapping[str, Sequence[Original]]:
    """Write the captures below a folder; return by file name what their frames are."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Sequence[Original]] = {}
    for seed, (name, make) in enumerate(_MAKERS.items()):
        written = frames(seed)
        unit, kept = make(folder / name, written)
        found[name] = [_original(frame, unit) for frame in kept]
    for name in ("le-us.pcap", "le-ns.pcap", "ns.pcapng", "mixed.pcapng", "two-sections.pcapng"):
        for how, ending in (("gzip", ".gz"), ("zstd", ".zst"), ("lz4", ".lz4")):
            compress(folder / name, how)
            found[name + ending] = found[name]
    cut(folder / "le-ns.pcap", 7)
    found["le-ns-cut.pcap"] = found["le-ns.pcap"][:-1]
    return found


def block(order: str, kind: int, body: bytes) -> bytes:
    """Return a block of pcapng."""
    length = 12 + len(body) + -len(body) % 4
    return (
        struct.pack(f"{order}II", kind, length)
        + body
        + bytes(-len(body) % 4)
        + struct.pack(f"{order}I", length)
    )


def section(order: str) -> bytes:
    """Return the block that begins a section."""
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def option(order: str, code: int, value: bytes) -> bytes:
    """Return an option of a block."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order: str, link_type: int, *, resolution: int = 9, name: str = "") -> bytes:
    """Return the block of an interface."""
    options = option(order, 2, name.encode()) if name else b""
    options += option(order, 9, bytes([resolution])) + option(order, 8, struct.pack(f"{order}Q", 7))
    return block(order, 1, struct.pack(f"{order}HHI", link_type, 0, 0) + options + bytes(4))


def packet(order: str, index: int, frame: Frame, *, unit: int = 1, options: bytes = b"") -> bytes:
    """Return the block of a frame, whose time is in units of nanoseconds."""
    ticks = (frame.time_ns or 0) // unit
    wire = len(frame.data) if frame.wire_length is None else frame.wire_length
    head = struct.pack(
        f"{order}IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(frame.data), wire
    )
    padded = frame.data + bytes(-len(frame.data) % 4)
    return block(order, 6, head + padded + options + (bytes(4) if options else b""))


def secrets(order: str) -> bytes:
    """Return a block with the keys of a TLS session."""
    return block(order, 10, struct.pack(f"{order}II", TLS_KEY_LOG, len(KEYS)) + KEYS)


Made = tuple[int, Sequence[Frame]]
"""The unit of its times in nanoseconds, and the frames that it has."""


def _pcap(*, nanoseconds: bool, big_endian: bool) -> Callable[[Path, list[Frame]], Made]:
    def make(path: Path, written: list[Frame]) -> Made:
        write_pcap(path, written, nanoseconds=nanoseconds, big_endian=big_endian)
        return 1 if nanoseconds else 1000, written

    return make


def _pcapng(tsresol: int, unit: int, tsoffset: int = 0) -> Callable[[Path, list[Frame]], Made]:
    def make(path: Path, written: list[Frame]) -> Made:
        write_pcapng(path, written, tsresol=tsresol, tsoffset=tsoffset)
        return unit, written

    return make


def _short(path: Path, written: list[Frame]) -> Made:
    write_pcap(path, written, snaplen=96)
    kept = [Frame(f.data[:96], f.time_ns, wire_length=len(f.data)) for f in written]
    return 1, kept


def _mixed(path: Path, written: list[Frame]) -> Made:
    """Two link types in turn."""
    cooked = frames(77, len(written), link_type=LINUX_COOKED)
    both = [frame for pair in zip(written, cooked, strict=True) for frame in pair]
    write_pcapng(path, both)
    return 1, both


def _rich(order: str) -> Callable[[Path, list[Frame]], Made]:
    """Several interfaces, options, secrets, statistics, names, old and simple blocks."""

    def make(path: Path, written: list[Frame]) -> Made:
        content = section(order) + interface(order, 1, name="wlan0") + secrets(order)
        content += interface(order, 1, name="eth0 ü")
        for index, frame in enumerate(written):
            flags = option(order, 2, struct.pack(f"{order}I", 1)) + option(order, 1, b"hello")
            content += packet(order, index % 2, frame, options=flags if index % 3 else b"")
            content += block(order, 5, struct.pack(f"{order}III", 0, 0, 0))
            content += block(order, 4, bytes(4)) + block(order, 0x777, b"what is this")
        path.write_bytes(content)
        return 1, written

    return make


def _old(order: str) -> Callable[[Path, list[Frame]], Made]:
    """Packet blocks, which enhanced ones have replaced; a journal and others' blocks count, too."""

    def make(path: Path, written: list[Frame]) -> Made:
        content = section(order) + interface(order, 1, resolution=6)
        for frame in written:
            ticks = (frame.time_ns or 0) // 1000
            lengths = (len(frame.data), len(frame.data))
            head = struct.pack(
                f"{order}HHIIII", 0, 0xFFFF, ticks >> 32, ticks & 0xFFFFFFFF, *lengths
            )
            content += block(order, 2, head + frame.data)
        path.write_bytes(content)
        return 1000, written

    return make


def _sections(*orders: str) -> Callable[[Path, list[Frame]], Made]:
    """Sections that follow each other, as `cat` makes them, with units of their own."""

    def make(path: Path, written: list[Frame]) -> Made:
        size = len(written) // len(orders)
        content = b""
        for part, order in enumerate(orders):
            content += section(order) + interface(order, 1, name=f"part{part}")
            for frame in written[part * size : (part + 1) * size]:
                content += packet(order, 0, frame)
        path.write_bytes(content)
        return 1, written[: size * len(orders)]

    return make


_MAKERS: Mapping[str, Callable[[Path, list[Frame]], Made]] = {
    "le-us.pcap": _pcap(nanoseconds=False, big_endian=False),
    "le-ns.pcap": _pcap(nanoseconds=True, big_endian=False),
    "be-us.pcap": _pcap(nanoseconds=False, big_endian=True),
    "be-ns.pcap": _pcap(nanoseconds=True, big_endian=True),
    "short.pcap": _short,
    "ns.pcapng": _pcapng(9, 1),
    "us.pcapng": _pcapng(6, 1000),
    "ms.pcapng": _pcapng(3, 10**6),
    "offset.pcapng": _pcapng(9, 1, tsoffset=1_000_000),
    "mixed.pcapng": _mixed,
    "rich-le.pcapng": _rich("<"),
    "rich-be.pcapng": _rich(">"),
    "old-le.pcapng": _old("<"),
    "old-be.pcapng": _old(">"),
    "two-sections.pcapng": _sections("<", "<"),
    "three-sections.pcapng": _sections(">", "<", ">"),
}


def _original(frame: Frame, unit: int) -> Original:
    wire = len(frame.data) if frame.wire_length is None else frame.wire_length
    time = (frame.time_ns or 0) // unit * unit
    return Original(frame.data, time, wire, 1 if frame.link_type is None else frame.link_type)
