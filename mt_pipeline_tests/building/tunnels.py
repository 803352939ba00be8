"""Frames inside other frames: VLANs, tunnels, and packets quoted by ICMP errors.

Each function wraps one frame of `traffic.py`.
"""

import struct

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import GRE
from scapy.packet import Packet, Raw

from mt_pipeline_tests.building.traffic import (
    CLIENT,
    CLIENT6,
    CLIENT_MAC,
    ROUTER,
    ROUTER_MAC,
    ethernet,
)

GATEWAY, FAR_GATEWAY = "10.9.0.1", "151.101.1.69"
GATEWAY6, FAR_GATEWAY6 = "fd00:9::1", "2a00:1450:4001:831::200e"


def ip_layer(frame: bytes) -> bytes:
    """Take the Ethernet header off."""
    return frame[14:]


def vlan(frame: bytes, *ids: int) -> bytes:
    """Tag a frame, outermost first; with two tags the outer is 802.1ad (QinQ)."""
    kinds = [0x88A8] * (len(ids) - 1) + [0x8100]
    tags = b"".join(
        struct.pack("!HH", kind, number) for kind, number in zip(kinds, ids, strict=True)
    )
    return frame[:12] + tags + frame[12:]


def gre(frame: bytes) -> bytes:
    """Carry the IP packet in GRE."""
    return _outer(
        GRE(proto=0x86DD if _is_v6(frame) else 0x0800) / Raw(ip_layer(frame)), protocol=47
    )


def ip_in_ip(frame: bytes) -> bytes:
    """Carry an IPv4 packet in IPv4, or an IPv6 packet in IPv4 (6in4)."""
    return _outer(Raw(ip_layer(frame)), protocol=41 if _is_v6(frame) else 4)


def ip_in_ipv6(frame: bytes) -> bytes:
    """Carry an IPv4 packet in IPv6."""
    return ethernet(IPv6(src=GATEWAY6, dst=FAR_GATEWAY6, nh=4) / Raw(ip_layer(frame)))


def gtp_u(frame: bytes) -> bytes:
    """Carry the IP packet as the user data of a mobile phone."""
    inner = ip_layer(frame)
    return _outer(
        UDP(sport=2152, dport=2152)
        / Raw(struct.pack("!BBHI", 0x30, 0xFF, len(inner), 0x11223344) + inner),
        protocol=17,
    )


def teredo(frame: bytes) -> bytes:
    """Carry an IPv6 packet in UDP, as Teredo does."""
    return _outer(UDP(sport=3544, dport=3544) / Raw(ip_layer(frame)), protocol=17)


def vxlan(frame: bytes, *, network_id: int = 42) -> bytes:
    """Carry the whole Ethernet frame in UDP."""
    return _outer(
        UDP(sport=49_152, dport=4789)
        / Raw(struct.pack("!II", 0x08000000, network_id << 8) + frame),
        protocol=17,
    )


def icmp_error(frame: bytes, *, kind: int = 3, code: int = 3) -> bytes:
    """Make the router's error about a packet of the client, which it quotes.

    3/3 is port unreachable, 11/0 time exceeded.
    """
    error = IP(src=ROUTER, dst=CLIENT) / ICMP(type=kind, code=code) / Raw(ip_layer(frame)[:500])
    return ethernet(error, source=ROUTER_MAC, target=CLIENT_MAC)


def icmpv6_error(frame: bytes) -> bytes:
    """Let an IPv6 router say that the port of a packet is unreachable, quoting it."""
    error = (
        IPv6(src="fe80::1", dst=CLIENT6) / ICMPv6DestUnreach(code=4) / Raw(ip_layer(frame)[:1_000])
    )
    return ethernet(error, source=ROUTER_MAC, target=CLIENT_MAC)


def _outer(payload: Packet, *, protocol: int) -> bytes:
    return ethernet(IP(src=GATEWAY, dst=FAR_GATEWAY, proto=protocol) / payload)


def _is_v6(frame: bytes) -> bool:
    return frame[14] >> 4 == 6
