"""What devices say: DNS and mDNS, DHCP, NTP, HTTP, the beginnings of TLS and QUIC.

Sources: RFC 1035 (DNS), RFC 6762 (mDNS), RFC 2131 (DHCP), RFC 5905 (NTP), RFC 8446 (TLS),
RFC 9001 (QUIC).
"""

import base64
import hashlib
import socket
import struct

QUIC_NAME = "www.youtube.com"
QUIC_HELLO = base64.b64decode(
    "zwAAAAEIbXQtZGVtbzEAAEB4jt4s4kret3u4WdnrXnBIFKXJjFF8R7FV+jHCxsoTCzKw/Z2tm6ViiS78KYIchGPc"
    "iSZNge9DSEgSsuGU1W0o1FkMxgfgidTMqUwsyiqeYO24f3CVBXeu98P9pgpqNZahYMHTnpR9IK3nrsjuEaikt4bi"
    "qGqu+B+E"
)
"""The first packet of a QUIC client that asks for QUIC_NAME.

It is encrypted with keys that anybody can derive from its connection id. Nothing that the product
needs can encrypt, so it was made beforehand; a test makes it anew and compares.
"""
QUIC_CONNECTION = b"mt-demo1"
"""Its connection id."""

_A, _PTR, _CLASS, _FLUSH = 1, 12, 1, 0x8001
_NTP_1970 = 2_208_988_800
"""Seconds from 1900, when NTP begins, to 1970."""


def noise(size: int, *, of: str) -> bytes:
    """Return bytes that look encrypted, the same for the same text."""
    return hashlib.shake_128(of.encode()).digest(size)


def dns_question(number: int, name: str) -> bytes:
    """Ask for the IPv4 address of a name."""
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + _question(name, _A)


def dns_answer(number: int, name: str, address: str) -> bytes:
    """Answer with an address."""
    head = struct.pack("!6H", number, 0x8180, 1, 1, 0, 0)
    return head + _question(name, _A) + _record(b"\xc0\x0c", _A, _CLASS, socket.inet_aton(address))


def mdns_question(service: str) -> bytes:
    """Ask all neighbours for a service, such as `_http._tcp.local`."""
    return struct.pack("!6H", 0, 0, 1, 0, 0, 0) + _question(service, _PTR)


def mdns_answer(service: str, host: str, address: str) -> bytes:
    """Tell all neighbours that a host has a service, and its address."""
    instance = bytes([len(host)]) + host.capitalize().encode() + _name(service)
    pointer = _record(_name(service), _PTR, _CLASS, instance)
    own = _record(_name(f"{host}.local"), _A, _FLUSH, socket.inet_aton(address))
    return struct.pack("!6H", 0, 0x8400, 0, 2, 0, 0) + pointer + own


def dhcp(kind: int, number: int, mac: str, *, host: str = "", given: str = "") -> bytes:
    """Make a message of DHCP: 3 asks for an address with the name of the host, 5 gives it."""
    operation = 2 if given else 1
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack("!BBBBIHH", operation, 1, 6, 0, number, 0, 0) + bytes(4)
    head += socket.inet_aton(given or "0.0.0.0") + bytes(8)  # noqa: S104  no address, not all
    head += hardware + bytes(10 + 64 + 128) + b"\x63\x82\x53\x63"
    name = struct.pack("!BB", 12, len(host)) + host.encode() if host else b""
    return head + bytes([53, 1, kind]) + name + b"\xff"


def ntp(mode: int, seconds: float) -> bytes:
    """Ask for the time (mode 3), or tell it (mode 4)."""
    stamp = struct.pack("!Q", int((seconds + _NTP_1970) * 2**32))
    stratum = 0 if mode == 3 else 2
    return struct.pack("!BBbb", 4 << 3 | mode, stratum, 6, -20) + bytes(12) + stamp * 4


def http_request(host: str) -> bytes:
    """Ask for the front page of a host, without encryption."""
    return f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def http_response(size: int) -> bytes:
    """Answer with text of this size."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"." * size


def client_hello(name: str) -> bytes:
    """Make the TLS record that asks for a server by its name."""
    sni = name.encode()
    extensions = struct.pack("!HHHBH", 0, len(sni) + 5, len(sni) + 3, 0, len(sni)) + sni
    extensions += b"\x00\x10\x00\x0e\x00\x0c\x02h2\x08http/1.1"  # ALPN
    extensions += b"\x00\x2b\x00\x03\x02\x03\x04"  # TLS 1.3
    body = b"\x03\x03" + noise(32, of=name) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    return _record_of_tls(0x16, b"\x01" + len(body).to_bytes(3, "big") + body)


def server_hello(name: str) -> bytes:
    """Make the TLS record that accepts: TLS 1.3 with AES."""
    body = b"\x03\x03" + noise(32, of=f"server {name}") + b"\x00\x13\x01\x00"
    body += b"\x00\x06\x00\x2b\x00\x02\x03\x04"
    return _record_of_tls(0x16, b"\x02" + len(body).to_bytes(3, "big") + body)


def application_data(size: int, *, of: str) -> bytes:
    """Make TLS records with data of this size, at most 16 kB in each."""
    sizes = [min(16_000, size - start) for start in range(0, size, 16_000)]
    return b"".join(_record_of_tls(0x17, noise(each, of=of)) for each in sizes)


def _record_of_tls(kind: int, data: bytes) -> bytes:
    return struct.pack("!BHH", kind, 0x0303, len(data)) + data


def _question(name: str, kind: int) -> bytes:
    return _name(name) + struct.pack("!HH", kind, _CLASS)


def _record(name: bytes, kind: int, record_class: int, data: bytes) -> bytes:
    return name + struct.pack("!HHIH", kind, record_class, 120, len(data)) + data


def _name(name: str) -> bytes:
    parts = (bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"".join(parts) + b"\0"
