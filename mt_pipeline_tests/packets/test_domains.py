"""Registrable domains of any name, and on the packets of a stream."""

import pytest

from mt_pipeline.packets.domains import registrable_domain
from mt_pipeline_tests.backends.questdb.parts import packet, rows_of


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("www.example.com", "example.com"),
        ("a.b.Example.co.uk.", "example.co.uk"),
        ("my_host.example.org", "example.org"),
        ("www.xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("www.münchen.de", "münchen.de"),
        ("me.github.io", "github.io"),
        ("co.uk", "co.uk"),
        ("tv.lan", "tv.lan"),
        ("localhost", "localhost"),
        ("192.168.1.1", "192.168.1.1"),
        ("x" * 300, "x" * 300),
        (".", None),
        ("", None),
        (None, None),
    ],
)
def test_the_registrable_domain_of_a_name(name: str | None, domain: str | None):
    assert registrable_domain(name) == domain


def test_every_packet_of_a_stream_with_a_name_has_its_domain_though_nobody_is_asked():
    hello = packet(2, tls_handshake_extensions_server_name="WWW.Shop.example.co.uk")
    other = packet(4, tcp_stream="1")
    nowhere = packet(5, tcp_stream=None, tls_handshake_extensions_server_name="a.example.com")
    rows = rows_of([packet(1), hello, packet(3), other, nowhere])
    assert [row["tls_sni_domain"] for row in rows] == ["example.co.uk"] * 3 + [None, "example.com"]
