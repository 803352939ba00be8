"""The messages that carry server names: TLS ClientHello and QUIC Initial.

How they travel is in `traffic.py`.
"""

import hashlib
import struct
from collections.abc import Sequence

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair

QUIC_1 = 1
SERVER_HELLO = (
    # TLS 1.3, AES-128-GCM, then the encrypted rest as application data
    b"\x16\x03\x03\x00\x38\x02\x00\x00\x34\x03\x03"
    + bytes(range(32))
    + b"\x00\x13\x01\x00\x00\x0c\x00\x2b\x00\x02\x03\x04\x00\x2d\x00\x02\x01\x01"
)


def application_data(size: int) -> bytes:
    """Make a TLS record of `size` bytes that look encrypted."""
    noise = hashlib.shake_128(str(size).encode()).digest(size)
    return b"\x17\x03\x03" + struct.pack("!H", size) + noise


def client_hello(
    name: str | bytes | None, *, alpn: Sequence[str] = ("h2", "http/1.1"), padding: int = 0
) -> bytes:
    """Make a TLS record with a ClientHello.

    `padding` makes it longer; without `name` it has no server name.
    """
    message = hello_message(name, alpn=alpn, padding=padding)
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def hello_message(
    name: str | bytes | None, *, alpn: Sequence[str] = ("h2",), padding: int = 0, quic: bool = False
) -> bytes:
    """Make the handshake message without its record, as QUIC carries it."""
    extensions = b""
    if name is not None:
        sni = name.encode() if isinstance(name, str) else name
        extensions += _extension(0, struct.pack("!HBH", len(sni) + 3, 0, len(sni)) + sni)
    if alpn:
        names = b"".join(bytes([len(each)]) + each.encode() for each in alpn)
        extensions += _extension(16, struct.pack("!H", len(names)) + names)
    extensions += _extension(43, b"\x02\x03\x04")
    if quic:
        extensions += _extension(57, b"\x01\x02\x67\x10")  # max_idle_timeout
    if padding:
        extensions += _extension(21, bytes(padding))
    random = hashlib.sha256(repr((name, alpn)).encode()).digest()
    body = (
        b"\x03\x03"
        + random
        + b"\x00"
        + struct.pack("!HHH", 4, 0x1301, 0x1302)
        + b"\x01\x00"
        + struct.pack("!H", len(extensions))
        + extensions
    )
    return b"\x01" + struct.pack("!I", len(body))[1:] + body


def quic_initials(
    name: str | bytes | None,
    *,
    connection_id: bytes,
    alpn: Sequence[str] = ("h3",),
    padding: int = 0,
    pieces: int = 1,
    fill: int = 1162,
) -> list[bytes]:
    """Make the Initial datagrams of a client, the hello spread over `pieces` of them.

    Each is filled up to `fill` bytes, by default to what a datagram may have.

    They are the same bytes every time. aioquic encrypts them with the keys that RFC 9001 derives
    from `connection_id`, so that tshark can read them.
    """
    message = hello_message(name, alpn=alpn, padding=padding, quic=True)
    size = -(-len(message) // pieces)
    crypto = CryptoPair()
    crypto.setup_initial(cid=connection_id, is_client=True, version=QUIC_1)
    datagrams = []
    for number in range(pieces):
        part = message[number * size : (number + 1) * size]
        frame = b"\x06" + struct.pack("!HH", 0x4000 | number * size, 0x4000 | len(part)) + part
        frame += bytes(max(0, fill - len(frame)))
        header = (
            b"\xc1"
            + struct.pack("!IB", QUIC_1, len(connection_id))
            + connection_id
            + b"\x00\x00"
            + struct.pack("!H", 0x4000 | len(frame) + 18)
        )
        datagrams.append(crypto.encrypt_packet(header + struct.pack("!H", number), frame, number))
    return datagrams


def quic_of_aioquic(name: str, *, alpn: Sequence[str] = ("h3",)) -> list[bytes]:
    """Let a real QUIC client say hello, in memory; its random numbers differ from call to call."""
    connection = QuicConnection(
        configuration=QuicConfiguration(is_client=True, server_name=name, alpn_protocols=list(alpn))
    )
    connection.connect(("127.0.0.1", 443), now=0.0)
    return [datagram for datagram, _ in connection.datagrams_to_send(now=0.0)]


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body
