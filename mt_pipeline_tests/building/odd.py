"""Frames that are broken, huge, cut, without IP, or of another link type than Ethernet."""

import random
import struct
from collections.abc import Iterable

from mt_pipeline_tests.building.files import LINUX_COOKED, NULL_LOOPBACK, RAW_IP, START_NS, Frame
from mt_pipeline_tests.building.traffic import (
    CLIENT_MAC,
    FROM_SERVER,
    arp,
    dns,
    tcp_session,
    tls_session,
)
from mt_pipeline_tests.building.tunnels import ip_layer

GARBAGE = bytes.fromhex("0a0d0d0a ffffffff 4d3c2b1a 01000000") + b"garbage" * 100
"""A file that begins like a pcapng, and that tshark cannot read."""

ODD_NAMES: tuple[str | bytes, ...] = (
    "comma,in.example.com",
    'quote"in.example.com',
    "tab\tin.example.com",
    "back\\slash.example.com",
    "new\nline.example.com",
    b"n\xc3\xa4me.example.com",
    b"bad\xff\xfeutf8.example.com",
    b"nul\x00in.example.com",
    "UPPER.Example.COM.",
    "10.0.0.1",
    "x" * 300,
)
"""Server names that no resolver would accept, or only after a change."""


def odd_tls_sessions() -> list[list[bytes]]:
    """Make one TLS connection for each odd name, each from a port of its own, from 52,000 on."""
    return [
        tls_session(name, client_port=52_000 + index, data_packets=1)
        for index, name in enumerate(ODD_NAMES)
    ]


def malformed(*, seed: int = 1) -> list[bytes]:
    """Cut headers of every layer short, then fill frames with noise; one has no byte at all."""
    noise = random.Random(seed)  # noqa: S311 - the same captures every time
    tls, query = (
        tls_session("cut.example.com", client_port=54_000)[3],
        dns("cut.example.com", client_port=54_001)[0],
    )
    cuts = (
        [tls[:size] for size in (0, 1, 13, 14, 20, 33, 34, 40, 53, 58, 90)]
        + [query[:size] for size in (36, 44, 50)]
        + [arp()[0][:20]]
    )
    bad_length = tls[:16] + b"\x00\x05" + tls[18:]  # total length of IP below its header
    bad_offset = tls[:46] + b"\x10" + tls[47:]  # TCP header of four bytes
    bad_ihl = tls[:14] + b"\x42" + tls[15:]
    as_ip = [tls[:14] + b"\x45" + noise.randbytes(60) for _ in range(5)]
    as_ipv6 = [tls[:12] + b"\x86\xdd\x60" + noise.randbytes(60) for _ in range(5)]
    return [
        *cuts,
        bad_length,
        bad_offset,
        bad_ihl,
        *as_ip,
        *as_ipv6,
        *(noise.randbytes(noise.randrange(14, 200)) for _ in range(10)),
    ]


def without_ip() -> list[bytes]:
    """Make 802.3 frames with LLC and SNAP (spanning tree, an unknown payload), EAPOL and LLDP."""
    hardware = bytes.fromhex(CLIENT_MAC.replace(":", ""))
    spanning_tree = b"\x42\x42\x03" + bytes(35)
    snap = b"\xaa\xaa\x03\x00\x00\x00\x12\x34" + b"payload"
    lldp = b"\x02\x07\x04" + hardware + b"\x04\x07\x03" + hardware + b"\x06\x02\x00\x78\x00\x00"
    return [
        b"\x01\x80\xc2\x00\x00\x00"
        + hardware
        + struct.pack("!H", len(spanning_tree))
        + spanning_tree
        + bytes(8),
        b"\xff" * 6 + hardware + struct.pack("!H", len(snap)) + snap,
        b"\x01\x80\xc2\x00\x00\x03" + hardware + b"\x88\x8e" + b"\x01\x01\x00\x00",
        b"\x01\x80\xc2\x00\x00\x0e" + hardware + b"\x88\xcc" + lldp,
    ]


def raw_ip(frames: Iterable[bytes]) -> list[bytes]:
    """Make frames of link type 101: the IP packet alone."""
    return [ip_layer(frame) for frame in frames]


def linux_cooked(frames: Iterable[bytes]) -> list[bytes]:
    """Make frames of link type 113, as Linux captures on `any`."""
    return [
        struct.pack("!HHH", 4, 1, 6) + frame[6:12] + b"\x00\x00" + frame[12:] for frame in frames
    ]


def loopback(frames: Iterable[bytes]) -> list[bytes]:
    """Make frames of link type 0, as BSD captures on its loopback; IPv4 only."""
    return [struct.pack("<I", 2) + ip_layer(frame) for frame in frames]


def other_link_types(*, start_ns: int = START_NS) -> list[Frame]:
    """Make frames of three link types, for pcapng."""
    frames: list[Frame] = []
    for index, (kind, wrap) in enumerate(
        [(RAW_IP, raw_ip), (LINUX_COOKED, linux_cooked), (NULL_LOOPBACK, loopback)]
    ):
        data = wrap(dns(f"link-{kind}.example.com", client_port=55_000 + index))
        frames += [
            Frame(each, start_ns + len(frames) + place, link_type=kind)
            for place, each in enumerate(data)
        ]
    return frames


def giant(size: int = 200_000) -> bytes:
    """Make a TCP frame of `size` bytes from before segmentation offload: IP total length 0."""
    frame = tcp_session([(FROM_SERVER, b"data")], client_port=50_200)[3]
    return frame[:16] + b"\x00\x00" + frame[18:] + bytes(size - len(frame))


def shortened(frames: Iterable[Frame], *, snaplen: int = 96) -> list[Frame]:
    """Cut frames to their first bytes, as a snap length does; the length on the wire stays."""
    return [
        Frame(frame.data[:snaplen], frame.time_ns, len(frame.data), frame.link_type)
        for frame in frames
    ]


_EVENT = struct.pack("<HQQI", 0, START_NS, 1, 26)
OTHER_BLOCKS: dict[str, tuple[int, bytes]] = {
    "name resolution": (4, struct.pack("<HH", 1, 8) + bytes([10, 0, 0, 1]) + b"abc\0" + bytes(4)),
    "statistics": (5, bytes(12)),
    "journal": (9, b"__REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=not a packet\n"),
    "secrets": (10, struct.pack("<II", 0x544C534B, 20) + b"CLIENT_RANDOM 00 00\n"),
    "system call": (0x204, _EVENT + struct.pack("<H", 0) + bytes(4)),
    "system call with flags": (0x216, _EVENT + struct.pack("<HI", 0, 0)),
    "custom": (0xBAD, struct.pack("<I", 32_473) + b"not a packet"),
    "custom, not to be copied": (0x40000BAD, struct.pack("<I", 32_473) + b"not a packet"),
    "custom of sysdig": (0xBAD, struct.pack("<I", 46_380) + bytes(8)),
    "unknown": (0x80001234, b"whatever"),
}
"""Blocks of pcapng that are no packets; tshark numbers some of them as if they were."""
