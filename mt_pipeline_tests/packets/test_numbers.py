"""The columns that network engineers look for: flags, findings and codes of a packet's own."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import TCP

from mt_pipeline_tests.building import traffic, tunnels
from mt_pipeline_tests.building.hellos import ALERT, SERVER_HELLO, client_hello
from mt_pipeline_tests.building.traffic import (
    CLIENT,
    FROM_CLIENT,
    FROM_SERVER,
    SERVER,
    ethernet,
    network,
)
from mt_pipeline_tests.packets.parts import picked, rows_of_frames

NAMES = ("icmp_type", "dns_rcode", "http_status", "tls_version", "tls_alert")
OLDER_SERVER_HELLO = (
    b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(range(32)) + b"\x00\xc0\x2f\x00"
)
NO_SUCH_NAME = bytes(DNS(id=7, qr=1, rd=1, ra=1, rcode=3, qd=DNSQR(qname="none.example.com")))
ANSWERS = [(FROM_CLIENT, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
ANSWERS += [(FROM_SERVER, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]


def tls(*messages: bytes) -> list[bytes]:
    """Let a server answer a hello."""
    return traffic.tcp_session(
        [(FROM_CLIENT, client_hello("x.example")), *((FROM_SERVER, each) for each in messages)]
    )


def values_of(name: str, frames: Sequence[bytes], folder: Path) -> list[object]:
    """Return the values of a column, without NULL."""
    return [row[name] for row in rows_of_frames(folder, frames) if row[name] is not None]


@pytest.mark.parametrize(
    ("name", "frames", "values"),
    [
        ("icmp_type", traffic.ping(), [8, 0]),
        ("icmp_type", traffic.ping6(), [128]),
        ("icmp_type", [tunnels.icmp_error(traffic.ping()[0])], [3]),
        ("icmp_type", [tunnels.gre(traffic.ping()[0])], [8]),
        ("dns_rcode", traffic.dns(), [0]),
        ("dns_rcode", traffic.udp_exchange([(FROM_SERVER, NO_SUCH_NAME)], server_port=53), [3]),
        ("http_status", traffic.http(), [200]),
        ("http_status", traffic.tcp_session(ANSWERS, server_port=80), [404]),
        ("tls_version", tls(SERVER_HELLO), [0x0304]),
        ("tls_version", tls(OLDER_SERVER_HELLO), [0x0303]),
        ("tls_alert", tls(ALERT), [40]),
    ],
)
def test_a_code_is_a_number(
    tmp_path: Path, name: str, frames: Sequence[bytes], values: Sequence[int]
):
    assert values_of(name, frames, tmp_path) == values


@pytest.mark.parametrize(
    "quoted", [traffic.dns()[1], traffic.http()[4], tls(OLDER_SERVER_HELLO)[4], tls(ALERT)[4]]
)
def test_what_a_packet_quotes_is_not_its_own(tmp_path: Path, quoted: bytes):
    [row] = rows_of_frames(tmp_path, [tunnels.icmp_error(quoted)])
    assert picked([row], *NAMES, "tcp_flags") == [(3, None, None, None, None, None)]


def test_flags_are_those_of_the_innermost_connection(tmp_path: Path):
    flags = [0x02, 0x12, 0x10, 0x18, 0x18, 0x11, 0x11]
    frames = traffic.http()
    tunnelled = [*map(tunnels.vxlan, frames), *map(tunnels.ip_in_ipv6, frames)]
    assert values_of("tcp_flags", [*frames, *tunnelled], tmp_path) == flags * 3
    assert values_of("tcp_flags", traffic.dns(), tmp_path) == []


def test_a_segment_that_is_sent_again_is_a_retransmission(tmp_path: Path):
    frames = traffic.tls_session(data_packets=6)
    rows = rows_of_frames(tmp_path, [*frames[:8], frames[6], *frames[8:]])
    assert [row["frame_number"] for row in rows if row["tcp_retransmission"]] == [9]
    assert {row["tcp_retransmission"] for row in rows} == {1, None}


def test_a_receiver_without_room_has_a_zero_window(tmp_path: Path):
    full = TCP(sport=443, dport=50_000, flags="A", seq=5_001, ack=1_001, window=0)
    frames = [*traffic.tls_session()[:3], ethernet(network(SERVER, CLIENT) / full)]
    assert values_of("tcp_zero_window", frames, tmp_path) == [1]
    assert rows_of_frames(tmp_path, frames)[3]["tcp_zero_window"] == 1
