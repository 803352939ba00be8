"""Rows of captures that were read wrongly once: quotes, link types, hellos, times."""

import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from mt_pipeline_tests.building import traffic, tunnels
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.hellos import hello_message
from mt_pipeline_tests.building.traffic import (
    CLIENT,
    CLIENT6,
    CLIENT_MAC,
    FROM_CLIENT,
    ROUTER,
    ROUTER_MAC,
    SERVER,
    SERVER6,
)
from mt_pipeline_tests.packets.parts import Row, picked, rows_of, rows_of_frames
from mt_pipeline_tests.tshark.parts import documents_of, write_by_hand

WLAN, FDDI, LINUX_COOKED_2 = 105, 10, 276
HARDWARE = bytes.fromhex((CLIENT_MAC + ROUTER_MAC).replace(":", ""))
SOURCE, TARGET = HARDWARE[:6], HARDWARE[6:]


def row_of(folder: Path, frame: bytes) -> Row:
    [row] = rows_of_frames(folder, [frame])
    return row


def datagram(payload: bytes, port: int, *, client_port: int = 40_000) -> bytes:
    [frame] = traffic.udp_exchange(
        [(FROM_CLIENT, payload)], client_port=client_port, server_port=port
    )
    return frame


def sflow(frame: bytes) -> bytes:
    """Make a datagram of sFlow 5 with one sample, the header of a frame."""
    header = struct.pack("!IIII", 1, len(frame), 4, len(frame)) + frame + bytes(-len(frame) % 4)
    record = struct.pack("!II", 1, len(header)) + header
    sample = struct.pack("!IIIIIIII", 1, 3, 256, 256, 0, 1, 2, 1) + record
    agent = struct.pack("!II", 5, 1) + bytes([10, 0, 0, 1]) + struct.pack("!IIII", 0, 1, 1_000, 1)
    return agent + struct.pack("!II", 1, len(sample)) + sample


def packet_in(frame: bytes) -> bytes:
    """Make a message of OpenFlow 1.0 that hands a frame to the controller."""
    body = struct.pack("!IHHBB", 1, len(frame), 1, 0, 0) + frame
    return struct.pack("!BBHI", 1, 10, 8 + len(body), 7) + body


def tagged(frame: bytes) -> bytes:
    return tunnels.vlan(b"\x02\x00\x00\x00\xbb\x02\x02\x00\x00\x00\xbb\x01" + frame[12:], 9)


INNER = tagged(traffic.tls_session("quoted.example.com", client="192.168.7.8")[3])
OWN = (CLIENT, SERVER, CLIENT_MAC, ROUTER_MAC, None, "Unknown")
OF_ROUTER = (ROUTER, CLIENT, ROUTER_MAC, CLIENT_MAC, None, "Unknown")
QUOTES = {
    "sflow": datagram(sflow(INNER), 6343),
    "openflow_v1": traffic.tcp_session([(FROM_CLIENT, packet_in(INNER))], server_port=6653)[3],
    "icmp": tunnels.icmp_error(tunnels.vxlan(INNER), kind=3, code=4),
}


@pytest.mark.parametrize("protocol", QUOTES)
def test_a_packet_within_a_payload_is_no_layer(tmp_path: Path, protocol: str):
    """Regression: the row was the sampled packet; of ICMP errors it had the hardware addresses."""
    row = row_of(tmp_path, QUOTES[protocol])
    names = ("address_src", "address_dst", "eth_src", "eth_dst", "vlan_id", "tls_sni")
    assert picked([row], *names) == [OF_ROUTER if protocol == "icmp" else OWN]
    assert row["protocol"] == protocol


def test_a_quote_leaves_the_vlan_of_the_frame_itself(tmp_path: Path):
    row = row_of(tmp_path, tunnels.vlan(QUOTES["sflow"], 5))
    assert (row["vlan_id"], row["eth_src"]) == (5, CLIENT_MAC)


def reversed_bits(byte: int) -> int:
    return int(f"{byte:08b}"[::-1], 2)


def link_frames() -> dict[int, bytes]:
    packet = bytes(IP(src=CLIENT, dst=SERVER) / UDP(sport=1_000, dport=1_001) / Raw(b"data"))
    snap = b"\xaa\xaa\x03\x00\x00\x00\x08\x00"
    return {
        # To the distribution system: access point, station, final destination.
        WLAN: b"\x08\x01\x00\x00" + bytes([2] * 6) + SOURCE + TARGET + b"\x10\x00" + snap + packet,
        # A pcap has the bits of FDDI's addresses in the order of the wire.
        FDDI: b"\x50" + bytes(map(reversed_bits, TARGET + SOURCE)) + snap + packet,
        LINUX_COOKED_2: struct.pack("!HHIHBB", 0x0800, 0, 3, 1, 4, 6) + SOURCE + bytes(2) + packet,
    }


@pytest.mark.parametrize("link", [WLAN, FDDI, LINUX_COOKED_2])
def test_hardware_addresses_are_those_of_any_link(tmp_path: Path, link: int):
    """Regression: only Ethernet had any."""
    capture = write_pcap(tmp_path / "x.pcap", timed([link_frames()[link]]), link_type=link)
    [row] = rows_of(documents_of(capture))
    assert row["eth_src"] == CLIENT_MAC
    assert row["eth_dst"] == (None if link == LINUX_COOKED_2 else ROUTER_MAC)
    assert (row["address_src"], row["ip_proto"]) == (CLIENT, "UDP")


def test_a_fragment_of_ipv6_has_the_protocol_that_it_carries(tmp_path: Path):
    """Regression: all but the last one were `IPv6-Frag`."""
    tcp = bytes(TCP(sport=1_000, dport=1_001) / Raw(bytes(200)))
    base = IPv6(src=CLIENT6, dst=SERVER6)
    frames = [
        traffic.ethernet(base / IPv6ExtHdrFragment(nh=6, m=1, id=1) / Raw(tcp[:64])),
        traffic.ethernet(
            base / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(nh=6, m=1, id=2, offset=8) / Raw(tcp)
        ),
        traffic.ethernet(base / IPv6ExtHdrFragment(nh=58, m=1, id=3) / Raw(bytes(64))),
    ]
    rows = rows_of_frames(tmp_path, frames)
    assert [row["ip_proto"] for row in rows] == ["TCP", "TCP", "IPv6-ICMP"]


def test_dtls_has_its_name_and_alpn(tmp_path: Path):
    """Regression: tshark has fields of their own for DTLS."""
    message = hello_message("dtls.example.com", alpn=("webrtc",))
    hello = b"\xfe\xfd" + message[6:38] + b"\x00\x00" + message[39:]  # an empty cookie
    length = len(hello).to_bytes(3, "big")
    handshake = b"\x01" + length + b"\x00\x00" + b"\x00\x00\x00" + length + hello
    record = b"\x16\xfe\xff" + bytes(8) + struct.pack("!H", len(handshake)) + handshake
    for port in (443, 853, 5_000):
        row = row_of(tmp_path, datagram(record, port))
        assert (row["tls_sni"], row["tls_alpn"]) == ("dtls.example.com", "webrtc")
        assert row["protocol"] == "dtls"


def test_google_quic_has_its_name(tmp_path: Path):
    """Regression: tshark has a field of its own for its hello."""
    name = b"gquic.example.com"
    tags = struct.pack("<4sI4sI", b"SNI\0", len(name), b"VER\0", len(name) + 4)
    chlo = b"CHLO" + struct.pack("<HH", 2, 0) + tags + name + b"Q043"
    stream = b"\xa0\x01" + struct.pack("<H", len(chlo)) + chlo  # a length, stream 1
    packet = b"\x0d" + bytes(range(1, 9)) + b"Q043" + b"\x01" + bytes(12) + stream
    row = row_of(tmp_path, datagram(packet + bytes(1_200 - len(packet)), 443))
    assert (row["tls_sni"], row["protocol"]) == (name.decode(), "gquic")


def test_the_authority_of_http2_is_a_host(tmp_path: Path):
    """Regression: only the `Host` of HTTP/1 counted."""
    name = b"h2.example.com"
    block = b"\x82\x84\x86\x41" + bytes([len(name)]) + name  # GET, /, http, :authority
    headers = len(block).to_bytes(3, "big") + b"\x01\x05" + b"\x00\x00\x00\x01" + block
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4)
    frames = traffic.tcp_session([(FROM_CLIENT, preface), (FROM_CLIENT, headers)], server_port=80)
    rows = rows_of_frames(tmp_path, frames)
    assert [row["http_host"] for row in rows if row["http_host"]] == [name.decode()]


@pytest.mark.parametrize(
    "text",
    [
        "1700000000.1000000000",
        "1700000000.1500000000",
        "1700000000.123400000000",
        "2023-11-14T22:13:20.1500000000Z",
    ],
)
def test_a_fraction_of_a_second_or_more_is_no_time(tmp_path: Path, text: str):
    """Regression: 1.5 s was read as 0.15 s."""
    [row] = rows_of(write_by_hand(tmp_path / "x", [{"frame_time_epoch": text}]))
    assert (row["ts"], row["skipped"]) == (None, "time not readable")


def test_a_capture_with_such_fractions_keeps_its_other_packets(tmp_path: Path):
    frame = traffic.arp()[0]
    fractions = (0, 999_999, 1_000_000, 1_500_000, 123_400_000)
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    records = [
        struct.pack("<IIII", 1_700_000_000, fraction, len(frame), len(frame)) + frame
        for fraction in fractions
    ]
    (tmp_path / "x.pcap").write_bytes(header + b"".join(records))
    rows = rows_of(documents_of(tmp_path / "x.pcap"))
    assert [row["ts"] for row in rows] == [
        *(1_700_000_000_000_000, 1_700_000_000_999_999, None, None, None)
    ]
    assert [row["skipped"] for row in rows[2:]] == ["time not readable"] * 3
