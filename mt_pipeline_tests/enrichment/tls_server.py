"""A TLS server that answers like the fake Netify, with a certificate authority of its own."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509  # aioquic brings it
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mt_pipeline_tests.fake_netify import address_body

DAY = timedelta(days=1)


class Authority:
    """One that gives out certificates; whoever trusts `file` trusts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the test")])
        certificate = self._signed(
            self._name, self._key, [(x509.BasicConstraints(ca=True, path_length=None), True)], DAY
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(self, host: str, *, expired: bool = False) -> Path:
        """Make a certificate for a host, its key in the same file."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        signed = self._signed(
            name,
            key,
            [(x509.SubjectAlternativeName([x509.DNSName(host)]), False)],
            -DAY if expired else DAY,
        )
        file = self._folder / f"{host}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        return file

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: list[tuple[x509.ExtensionType, bool]],
        good_for: timedelta,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = x509.CertificateBuilder(
            self._name,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            now - 2 * DAY,
            now + good_for,
        )
        for extension, critical in [
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (issuer, False),
            *extensions,
        ]:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


@dataclass(frozen=True)
class TlsServer:
    """A server while it runs.

    Attributes:
        port: where.
        connections: one for each that was begun.
        requests: the headers of each request that was read.
    """

    port: int
    connections: list[object]
    requests: list[dict[str, str]]


@contextmanager
def tls_server(certificate: Path) -> Iterator[TlsServer]:
    """Serve on 127.0.0.1 with this certificate."""
    connections: list[object] = []
    requests: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            requests.append(dict(self.headers.items()))
            body = json.dumps(address_body("8.8.8.8")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def process_request(self, request: object, address: object) -> None:
            connections.append(address)
            super().process_request(request, address)

        def handle_error(self, *_: object) -> None:
            """Say nothing: that a client breaks off is what the tests are about."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        # The handshake is made by the thread that reads first.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield TlsServer(server.server_port, connections, requests)
        finally:
            server.shutdown()
            thread.join()
