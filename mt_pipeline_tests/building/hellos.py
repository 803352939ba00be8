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
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
"""Handshake failure."""


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
    return _message((0x1301, 0x1302), extensions, random=random)


def chrome_hello(name: str) -> bytes:
    """Make a TLS record with a hello of Chrome, the example of the description of JA4."""
    sni = name.encode()
    extensions = [
        (0x1A1A, b""),  # GREASE
        (0, struct.pack("!HBH", len(sni) + 3, 0, len(sni)) + sni),
        (0x17, b""),
        (0xFF01, b"\x00"),
        (0x0A, bytes.fromhex("0008 3a3a 001d 0017 0018")),
        (0x0B, b"\x01\x00"),
        (0x23, b""),
        (0x10, b"\x00\x0c\x02h2\x08http/1.1"),
        (0x05, bytes.fromhex("01 0000 0000")),
        (0x0D, bytes.fromhex("0010 0403 0804 0401 0503 0805 0501 0806 0601")),
        (0x12, b""),
        (0x33, bytes.fromhex("0026 001d 0020") + bytes(32)),
        (0x2D, b"\x01\x01"),
        (0x2B, bytes.fromhex("06 4a4a 0304 0303")),
        (0x1B, bytes.fromhex("02 0002")),
        (0x4469, b"\x00\x03\x02h2"),
        (0x2A2A, b"\x00"),
        (0x15, bytes(90)),
    ]
    ciphers = bytes.fromhex(
        "5a5a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
    )
    message = _message(
        struct.unpack(f"!{len(ciphers) // 2}H", ciphers),
        b"".join(_extension(kind, body) for kind, body in extensions),
        random=bytes(32),
    )
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


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


def _message(ciphers: Sequence[int], extensions: bytes, *, random: bytes) -> bytes:
    body = (
        b"\x03\x03"
        + random
        + b"\x00"
        + struct.pack(f"!H{len(ciphers)}H", 2 * len(ciphers), *ciphers)
        + b"\x01\x00"
        + struct.pack("!H", len(extensions))
        + extensions
    )
    return b"\x01" + struct.pack("!I", len(body))[1:] + body


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body
