"""Ethernet frames with IPv4, TCP and UDP, with right lengths and checksums. What they carry is not.

Sources: RFC 791 (IPv4), RFC 768 (UDP), RFC 9293 (TCP), RFC 1071 (checksum).
"""

import socket
import struct
from dataclasses import dataclass

SYN, ACK, SYN_ACK, PUSH_ACK, FIN_ACK, RESET_ACK = 0x02, 0x10, 0x12, 0x18, 0x11, 0x14
"""Flags of TCP."""

_IPV4, _ARP = 0x0800, 0x0806
_TCP, _UDP = 6, 17
_WINDOW = 64_240
_MSS_1460 = b"\x02\x04\x05\xb4"


@dataclass(frozen=True)
class End:
    """One end of a conversation.

    Attributes:
        mac: hardware address on this network; that of the router for ends beyond it.
        address: IPv4 address.
        port: TCP or UDP port.
    """

    mac: str
    address: str
    port: int = 0


def udp(source: End, target: End, data: bytes) -> bytes:
    """Make a frame with a datagram."""
    length = 8 + len(data)
    head = struct.pack("!HHH", source.port, target.port, length)
    checksum = _checksum(_pseudo(source, target, _UDP, length) + head + b"\0\0" + data) or 0xFFFF
    return _ipv4(source, target, _UDP, head + struct.pack("!H", checksum) + data)


def tcp(
    source: End, target: End, flags: int, *, sequence: int, acknowledged: int, data: bytes = b""
) -> bytes:
    """Make a frame with a segment. A SYN says how large segments may be."""
    options = _MSS_1460 if flags & SYN else b""
    size = 20 + len(options)
    head = struct.pack(
        "!HHIIBBH", source.port, target.port, sequence, acknowledged, size << 2, flags, _WINDOW
    )
    rest = struct.pack("!H", 0) + options + data
    pseudo = _pseudo(source, target, _TCP, size + len(data))
    checksum = _checksum(pseudo + head + b"\0\0" + rest)
    return _ipv4(source, target, _TCP, head + struct.pack("!H", checksum) + rest)


def arp(operation: int, source: End, target: End) -> bytes:
    """Ask for the hardware address of a target (1), or answer (2)."""
    asked = bytes(6) if operation == 1 else _mac(target.mac)
    body = struct.pack("!HHBBH", 1, _IPV4, 6, 4, operation)
    body += _mac(source.mac) + socket.inet_aton(source.address)
    body += asked + socket.inet_aton(target.address)
    return _ethernet(source, target, _ARP, body)


def _ipv4(source: End, target: End, protocol: int, data: bytes) -> bytes:
    dont_fragment, hops = 0x4000, 64
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(data), 0, dont_fragment, hops, protocol)
    addresses = socket.inet_aton(source.address) + socket.inet_aton(target.address)
    checksum = _checksum(head + b"\0\0" + addresses)
    return _ethernet(source, target, _IPV4, head + struct.pack("!H", checksum) + addresses + data)


def _ethernet(source: End, target: End, kind: int, data: bytes) -> bytes:
    return _mac(target.mac) + _mac(source.mac) + struct.pack("!H", kind) + data


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _pseudo(source: End, target: End, protocol: int, length: int) -> bytes:
    addresses = socket.inet_aton(source.address) + socket.inet_aton(target.address)
    return addresses + struct.pack("!HH", protocol, length)


def _checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
