"""Sessions of TLS 1.2, in which the certificate of the server can be read."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mt_pipeline_tests.building.hellos import application_data, client_hello
from mt_pipeline_tests.building.traffic import (
    CLIENT,
    FROM_CLIENT,
    FROM_SERVER,
    SERVER,
    tcp_session,
)

_SERVER_HELLO = b"\x03\x03" + bytes(32) + b"\x00\xc0\x2b\x00"


def certified_session(
    *names: str,
    server_name: str | None = None,
    client: str = CLIENT,
    server: str = SERVER,
    client_port: int = 50_500,
) -> list[bytes]:
    """Make a TCP connection whose server sends a certificate with these names."""
    messages = [
        (FROM_CLIENT, client_hello(server_name, alpn=())),
        (FROM_SERVER, _record(2, _SERVER_HELLO) + _record(11, _certificates(names))),
        (FROM_CLIENT, application_data(60)),
        (FROM_SERVER, application_data(600)),
    ]
    return tcp_session(messages, client=client, server=server, client_port=client_port)


def _record(kind: int, body: bytes) -> bytes:
    """Make one record of TLS for each 16,000 bytes of a handshake message."""
    message = bytes([kind]) + struct.pack("!I", len(body))[1:] + body
    parts = [message[start : start + 16_000] for start in range(0, len(message), 16_000)]
    return b"".join(b"\x16\x03\x03" + struct.pack("!H", len(part)) + part for part in parts)


def _certificates(names: Sequence[str]) -> bytes:
    certificate = _certificate(tuple(names))
    listed = struct.pack("!I", len(certificate))[1:] + certificate
    return struct.pack("!I", len(listed))[1:] + listed


@cache
def _certificate(names: Sequence[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    day = datetime(2023, 11, 14, tzinfo=UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, day, day)
    dns_names = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    return (
        builder.add_extension(dns_names, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
