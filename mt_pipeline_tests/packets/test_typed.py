"""Typed rows of captures: one layer per packet, the names of its stream, exact times."""

from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from itertools import chain
from pathlib import Path

import duckdb
import pytest

from mt_pipeline.schema.packets import COLUMNS, IN_PACKETS
from mt_pipeline_tests.building import odd, traffic, tunnels
from mt_pipeline_tests.building.everything import ODD_TIMES, everything
from mt_pipeline_tests.building.files import START_NS, Frame, timed, write_pcap, write_pcapng
from mt_pipeline_tests.building.hellos import client_hello
from mt_pipeline_tests.building.traffic import (
    CLIENT,
    CLIENT6,
    CLIENT_MAC,
    OTHER_SERVER,
    RESOLVER,
    ROUTER,
    ROUTER_MAC,
    SERVER,
    SERVER6,
)
from mt_pipeline_tests.packets.parts import (
    Row,
    picked,
    rows_of,
    rows_of_frames,
    said_in,
    typed_of,
    typed_rows,
)
from mt_pipeline_tests.tshark.parts import documents_of, read_all, write_by_hand

LAYER = ("address_src", "address_dst", "ip_proto", "port_src", "port_dst", "protocol")
DEVICE = "02:00:00:00:00:77"


def hello(name: str, *, port: int, v6: bool = False) -> bytes:
    """Make one packet with a hello."""
    ends = {"client": CLIENT6, "server": SERVER6} if v6 else {}
    return traffic.tls_session(name, client_port=port, **ends)[3]


def told_apart(frame: bytes) -> bytes:
    """Give a frame another hardware address as its source."""
    return frame[:6] + bytes.fromhex(DEVICE.replace(":", "")) + frame[12:]


QUESTION, QUESTION6 = (
    traffic.dns()[0],
    traffic.dns(client=CLIENT6, resolver="2001:4860:4860::8888", client_port=53_011)[0],
)

FRAMES: dict[str, list[bytes]] = {
    "gre": [tunnels.gre(hello("gre.example", port=1_001))],
    "gre6": [tunnels.gre(hello("gre6.example", port=1_002, v6=True))],
    "ipip": [tunnels.ip_in_ip(hello("ipip.example", port=1_003))],
    "6in4": [tunnels.ip_in_ip(hello("6in4.example", port=1_004, v6=True))],
    "4in6": [tunnels.ip_in_ipv6(hello("4in6.example", port=1_005))],
    "gtp": [tunnels.gtp_u(hello("gtp.example", port=1_006))],
    "teredo": [tunnels.teredo(hello("teredo.example", port=1_007, v6=True))],
    "vxlan": [tunnels.vxlan(told_apart(hello("vxlan.example", port=1_008)))],
    "vxlan in gre": [tunnels.gre(tunnels.vxlan(hello("deep.example", port=1_009)))],
    "gtp with dns": [tunnels.gtp_u(traffic.dns(client_port=1_010)[0])],
    "gtp with ping": [tunnels.gtp_u(traffic.ping()[0])],
    "gtp with arp": [tunnels.vxlan(traffic.arp()[0])],
    "icmp": [tunnels.icmp_error(QUESTION)],
    "icmp of tls": [tunnels.icmp_error(hello("quoted.example", port=1_011), kind=11, code=0)],
    "icmpv6": [tunnels.icmpv6_error(QUESTION6)],
    "icmp in gre": [tunnels.gre(tunnels.icmp_error(QUESTION))],
    "icmp of gtp": [tunnels.icmp_error(tunnels.gtp_u(QUESTION))],
    "hop by hop": traffic.hop_by_hop(),
    "fragments6": traffic.fragments6(),
    "fragments4": traffic.fragments4(),
    "last fragment": traffic.fragments4(identity=9, last_only=True),
    "ping": traffic.ping(),
    "ping6": traffic.ping6(),
    "igmp": traffic.igmp(),
    "sctp": traffic.sctp(),
    "vlan": [tunnels.vlan(hello("vlan.example", port=1_012), 7)],
    "qinq": [tunnels.vlan(hello("qinq.example", port=1_013), 100, 8)],
    "vlan in vxlan in vlan": [
        tunnels.vlan(tunnels.vxlan(tunnels.vlan(hello("vlans.example", port=1_014), 9)), 7)
    ],
    "arp": traffic.arp(),
    "without ip": odd.without_ip(),
    "dhcp": traffic.dhcp(),
    "giant": [odd.giant(), odd.giant(32_768)],
    "dns": traffic.dns(client_port=1_015),
    "http": traffic.http(client_port=1_016),
}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """Rows of FRAMES, all of one capture."""
    rows = iter(
        rows_of_frames(tmp_path_factory.mktemp("named"), chain.from_iterable(FRAMES.values()))
    )
    return {name: [next(rows) for _ in frames] for name, frames in FRAMES.items()}


# The layer


V4, V6 = (CLIENT, SERVER), (CLIENT6, SERVER6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (name, [(*V4, "TCP", port, 443, "tls")])
            for name, port in [("gre", 1_001), ("ipip", 1_003), ("4in6", 1_005), ("gtp", 1_006)]
        ),
        *(
            (name, [(*V6, "TCP", port, 443, "tls")])
            for name, port in [("gre6", 1_002), ("6in4", 1_004), ("teredo", 1_007)]
        ),
        *(
            (name, [(*V4, "TCP", port, 443, "tls")])
            for name, port in [("vxlan", 1_008), ("vxlan in gre", 1_009)]
        ),
        ("gtp with dns", [(CLIENT, RESOLVER, "UDP", 1_010, 53, "dns")]),
        ("gtp with ping", [(*V4, "ICMP", None, None, "icmp")]),
        ("gtp with arp", [(tunnels.GATEWAY, tunnels.FAR_GATEWAY, "UDP", 49_152, 4_789, "arp")]),
    ],
)
def test_tunnels_are_opened_and_nothing_of_the_outer_packet_is_mixed_in(
    named: dict[str, list[Row]], name: str, expected: list[tuple]
):
    assert picked(named[name], *LAYER) == expected
    assert [row["frame_len"] for row in named[name]] == [len(frame) for frame in FRAMES[name]]


@pytest.mark.parametrize("name", ["gre", "gre6", "ipip", "6in4", "4in6", "gtp", "teredo", "vxlan"])
def test_a_name_inside_a_tunnel_is_that_of_the_inner_stream(named: dict[str, list[Row]], name: str):
    assert picked(named[name], "tls_sni", "tls_alpn") == [(f"{name}.example", "h2")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(
            (name, (ROUTER, CLIENT, "ICMP", None, None, "icmp"))
            for name in ("icmp", "icmp of tls", "icmp in gre", "icmp of gtp")
        ),
        ("icmpv6", ("fe80::1", CLIENT6, "IPv6-ICMP", None, None, "icmpv6")),
    ],
)
def test_what_an_icmp_error_quotes_is_not_in_its_row(
    named: dict[str, list[Row]], name: str, expected: tuple
):
    assert picked(named[name], *LAYER) == [expected]
    assert picked(named[name], "stream_index", "tls_sni", "tls_alpn", "dns_name", "http_host") == [
        (None, "Unknown", "Unknown", None, None)
    ]


def test_extension_headers_are_passed_over(named: dict[str, list[Row]]):
    assert picked(named["hop by hop"], *LAYER) == [(*V6, "UDP", 40_006, 41_006, "udp")]
    assert [row["stream_index"] is not None for row in named["hop by hop"]] == [True]


def test_only_the_fragment_that_completes_a_datagram_has_its_ports(named: dict[str, list[Row]]):
    assert picked(named["fragments4"], *LAYER) == [(*V4, "UDP", None, None, "ip")] * 2 + [
        (*V4, "UDP", 40_008, 4_502, "udp")
    ]
    assert picked(named["last fragment"], *LAYER) == [(*V4, "UDP", None, None, "ip")]
    first, last = picked(named["fragments6"], *LAYER)
    assert first == (*V6, "UDP", None, None, "ipv6.fraghdr")
    assert last == (*V6, "UDP", 40_007, 4_501, "udp")


def test_protocols_without_ports_have_none(named: dict[str, list[Row]]):
    assert picked(named["ping"], *LAYER) == [
        (*V4, "ICMP", None, None, "icmp"),
        (*reversed(V4), "ICMP", None, None, "icmp"),
    ]
    assert picked(named["ping6"], *LAYER) == [(*V6, "IPv6-ICMP", None, None, "icmpv6")]
    assert picked(named["igmp"], *LAYER) == [(CLIENT, "239.1.2.3", "IGMP", None, None, "igmp")]
    assert picked(named["sctp"], *LAYER) == [(*V4, "SCTP", None, None, "sctp")]


def test_frames_without_ip_are_rows(named: dict[str, list[Row]]):
    rows = [*named["arp"], *named["without ip"]]
    assert [row["protocol"] for row in rows] == ["arp", "arp", "stp", "llc", "eapol", "lldp"]
    expected = {"ip_proto": "Unknown", "tls_sni": "Unknown", "tls_alpn": "Unknown"} | dict.fromkeys(
        [
            "ip_src",
            "ip_dst",
            "ipv6_src",
            "ipv6_dst",
            "address_src",
            "address_dst",
            "port_src",
            "port_dst",
            "stream_index",
            "skipped",
        ]
    )
    assert [{key: row[key] for key in expected} for row in rows] == [expected] * 6


def test_addresses_are_of_one_family_only(named: dict[str, list[Row]]):
    addresses = ("ip_src", "ip_dst", "ipv6_src", "ipv6_dst", "address_src", "address_dst")
    assert picked(named["6in4"], *addresses) == [(None, None, *V6, *V6)]
    assert picked(named["4in6"], *addresses) == [(*V4, None, None, *V4)]
    assert picked(named["dhcp"], *addresses) == [
        ("0.0.0.0", "255.255.255.255", None, None, "0.0.0.0", "255.255.255.255")  # noqa: S104
    ]  # noqa: RUF100, S104


# Other columns


def test_the_innermost_vlan_and_hardware_addresses_are_said(named: dict[str, list[Row]]):
    vlans = {
        name: named[name][0]["vlan_id"]
        for name in ("vlan", "qinq", "vlan in vxlan in vlan", "vxlan")
    }
    assert vlans == {"vlan": 7, "qinq": 8, "vlan in vxlan in vlan": 9, "vxlan": None}
    assert picked(named["vxlan"], "eth_src", "eth_dst") == [(DEVICE, traffic.ROUTER_MAC)]
    assert picked(named["arp"], "eth_src", "eth_dst") == [
        (traffic.CLIENT_MAC, traffic.BROADCAST_MAC),
        (traffic.ROUTER_MAC, traffic.CLIENT_MAC),
    ]


def test_lengths_are_those_on_the_wire(named: dict[str, list[Row]], tmp_path: Path):
    assert [row["frame_len"] for row in named["giant"]] == [200_000, 32_768]
    capture = write_pcap(tmp_path / "x.pcap", odd.shortened(timed([odd.giant(5_000)])))
    assert picked(rows_of(documents_of(capture)), "frame_len", "port_src") == [(5_000, 443)]


def test_names_asked_for_in_dns_and_http_are_those_of_the_packet(named: dict[str, list[Row]]):
    assert picked(named["dns"], "dns_name", "http_host") == [("www.example.com", None)] * 2
    assert [row["http_host"] for row in named["http"] if row["http_host"]] == ["plain.example.com"]


def test_malformed_frames_and_other_link_types_are_rows(tmp_path: Path):
    frames = odd.malformed()
    capture = write_pcapng(
        tmp_path / "x.pcapng", [*timed(frames), *odd.other_link_types(start_ns=START_NS + 10**12)]
    )
    rows = rows_of(documents_of(capture))
    assert [row["frame_len"] for row in rows[: len(frames)]] == [len(frame) for frame in frames]
    assert {row["skipped"] for row in rows} == {None}
    others = [(CLIENT, RESOLVER, "UDP", 55_000 + index, 53, "dns") for index in range(3)]
    backwards = [
        (target, source, proto, there, here, protocol)
        for source, target, proto, here, there, protocol in others
    ]
    assert picked(rows[len(frames) :], *LAYER) == [
        *chain.from_iterable(zip(others, backwards, strict=True))
    ]
    assert picked(rows[-6:], "eth_src", "eth_dst") == [
        *[(None, None)] * 2,
        *[(CLIENT_MAC, None), (ROUTER_MAC, None)],  # a Linux cooked capture has no destination
        *[(None, None)] * 2,
    ]


def test_every_packet_is_one_row_with_the_packet_columns(tmp_path: Path):
    documents = documents_of(everything(tmp_path / "x.pcapng"))
    rows = rows_of(documents)
    assert [row["frame_number"] for row in rows] == list(range(1, len(read_all(documents)) + 1))
    assert list(rows[0]) == [column.name for column in COLUMNS if column.origin in IN_PACKETS] + [
        "address_src",
        "address_dst",
        "skipped",
    ]
    assert {row["ip_proto"] for row in rows} >= {
        "TCP",
        "UDP",
        "ICMP",
        "IPv6-ICMP",
        "IGMP",
        "SCTP",
        "Unknown",
    }


def test_a_layer_is_its_place_among_the_values_of_its_fields(tmp_path: Path):
    """The choice of layers relies on this: a field once per dissector, outermost first."""
    tunnelled = write_pcap(tmp_path / "x.pcap", timed(chain.from_iterable(FRAMES.values())))
    for document in read_all(documents_of(tunnelled)):
        layers = document["layers"]
        dissectors = layers["frame_protocols"][0].split(":")
        for dissector, fields in {
            "ip": ("ip_src", "ip_dst", "ip_proto"),
            "ipv6": ("ipv6_src", "ipv6_dst", "ipv6_nxt"),
            "tcp": ("tcp_srcport", "tcp_dstport", "tcp_stream"),
            "udp": ("udp_srcport", "udp_dstport", "udp_stream"),
        }.items():
            assert {len(layers.get(field, [])) for field in fields} == {
                dissectors.count(dissector)
            }, layers


# Names of streams


def test_a_name_is_on_all_packets_of_its_stream_before_and_after_the_hello(tmp_path: Path):
    frames = [*traffic.tls_session("www.example.com"), *traffic.udp_exchange([(True, b"nobody")])]
    rows = rows_of_frames(tmp_path, frames)
    assert picked(rows, "tls_sni", "tls_alpn") == [("www.example.com", "h2")] * (
        len(frames) - 1
    ) + [("Unknown", "Unknown")]


def test_the_last_name_said_wins_for_the_whole_stream(tmp_path: Path):
    frames = traffic.tls_session("one.example.com", second_name="two.example.com")
    assert set(picked(rows_of_frames(tmp_path, frames), "tls_sni", "tls_alpn")) == {
        ("two.example.com", "http/1.1")
    }


def test_the_last_name_said_is_that_of_the_highest_frame_number(tmp_path: Path):
    """Regression: as text, frame 9 comes after frame 10."""
    tcp = {
        "frame_protocols": "eth:ethertype:ip:tcp:tls",
        "ip_src": CLIENT,
        "ip_dst": SERVER,
        "tcp_stream": "5",
    }
    packets = [
        {
            **tcp,
            "tls_handshake_extensions_server_name": f"name-{number}.example"
            if number in (2, 9, 10, 12)
            else "",
        }
        for number in range(1, 21)
    ]
    assert {
        row["tls_sni"] for row in rows_of(write_by_hand(tmp_path / "x.ndjson.zst", packets))
    } == {"name-12.example"}


def test_a_later_hello_without_a_name_leaves_the_name_and_one_without_alpn_the_alpn(tmp_path: Path):
    messages = [
        (True, client_hello("named.example", alpn=("h2",))),
        (True, client_hello(None, alpn=("h3",))),
        (True, client_hello("other.example", alpn=())),
    ]
    for upto, expected in [(2, ("named.example", "h3")), (3, ("other.example", "h3"))]:
        assert set(
            picked(
                rows_of_frames(tmp_path, traffic.tcp_session(messages[:upto])),
                "tls_sni",
                "tls_alpn",
            )
        ) == {expected}


def test_of_several_names_in_one_packet_the_first_counts(tmp_path: Path):
    frames = traffic.tcp_session(
        [
            (
                True,
                client_hello("first.example", alpn=("a1", "a2"))
                + client_hello("second.example", alpn=("b1",)),
            )
        ]
    )
    assert set(picked(rows_of_frames(tmp_path, frames), "tls_sni", "tls_alpn")) == {
        ("first.example", "a1")
    }


def test_streams_of_tcp_and_udp_with_one_number_keep_their_own_names(tmp_path: Path):
    frames = [*traffic.tls_session("tcp.example.com"), *traffic.quic_session("udp.example.com")]
    rows = rows_of_frames(tmp_path, frames)
    assert set(picked(rows, "ip_proto", "stream_index", "tls_sni", "tls_alpn")) == {
        ("TCP", 0, "tcp.example.com", "h2"),
        ("UDP", 0, "udp.example.com", "h3"),
    }


@pytest.mark.parametrize(
    "frames",
    [
        traffic.tls_session("spread.example", segments=3),
        traffic.quic_session("spread.example", pieces=2, alpn=("h2",)),
        [tunnels.gtp_u(frame) for frame in traffic.tls_session("spread.example", segments=3)],
        traffic.tls_session("spread.example", client=CLIENT6, server=SERVER6),
    ],
    ids=["TLS in three segments", "QUIC in two datagrams", "in a tunnel", "IPv6"],
)
def test_a_name_that_is_spread_over_packets_is_on_all_of_them(tmp_path: Path, frames: list[bytes]):
    assert set(picked(rows_of_frames(tmp_path, frames), "tls_sni", "tls_alpn")) == {
        ("spread.example", "h2")
    }


def test_segments_in_the_wrong_order_still_give_the_name(tmp_path: Path):
    frames = traffic.tls_session("disorder.example", segments=3)
    frames[3], frames[4] = frames[4], frames[3]
    assert {row["tls_sni"] for row in rows_of_frames(tmp_path, frames)} == {"disorder.example"}


def test_an_error_that_quotes_a_hello_does_not_rename_the_stream(tmp_path: Path):
    frames = traffic.tls_session("real.example")
    other = traffic.tls_session("quoted.example")[3]
    rows = rows_of_frames(tmp_path, [*frames, tunnels.icmp_error(other)])
    assert [row["tls_sni"] for row in rows] == ["real.example"] * len(frames) + ["Unknown"]


def test_odd_names_are_kept_as_they_were_said(tmp_path: Path):
    rows = rows_of_frames(tmp_path, chain.from_iterable(odd.odd_tls_sessions()))
    names = {row["port_src"]: row["tls_sni"] for row in rows if row["port_dst"] == 443}
    assert [names[52_000 + index] for index in range(11)] == [
        *(
            "comma,in.example.com",
            'quote"in.example.com',
            "tab\tin.example.com",
            "back\\slash.example.com",
            "new\nline.example.com",
        ),
        *(
            "n\ufffd\ufffdme.example.com",
            "bad\ufffd\ufffdutf8.example.com",
            "nul",
            "UPPER.Example.COM.",
            "10.0.0.1",
            "x" * 300,
        ),
    ]


# Times


TIMES = {
    "1700000000.123456789": (1_700_000_000_123_456, None),
    "1700000000.123456000": (1_700_000_000_123_456, None),
    "1700000000.999999999": (1_700_000_000_999_999, None),
    "1700000000.000001": (1_700_000_000_000_001, None),
    "1700000000.5": (1_700_000_000_500_000, None),
    "1700000000": (1_700_000_000_000_000, None),
    "0.000000000": (0, None),
    "0.000000999": (0, None),
    "0.000001000": (1, None),
    # A float has no microseconds left out there.
    "9183073032.000001999": (9_183_073_032_000_001, None),
    "10413794160.000001000": (10_413_794_160_000_001, None),
    "253402300799.999999999": (253_402_300_799_999_999, None),
    "253402300800.000000000": (None, "time after 9999"),
    "284012568000.000000000": (None, "time after 9999"),
    "2023-11-14T22:13:20.123456789Z": (1_700_000_000_123_456, None),
    "2023-11-14T22:13:20.999999999Z": (1_700_000_000_999_999, None),
    "2023-11-14T22:13:20.123Z": (1_700_000_000_123_000, None),
    "2023-11-14T22:13:20Z": (1_700_000_000_000_000, None),
    "2023-11-14T22:13:20": (1_700_000_000_000_000, None),
    "2023-11-14T22:13:20.123456789": (1_700_000_000_123_456, None),
    "2023-11-14 22:13:20.000001": (1_700_000_000_000_001, None),
    "1970-01-01T00:00:00.000000999Z": (0, None),
    "2262-04-11T23:47:16.854775808Z": (9_223_372_036_854_775, None),
    "9999-12-31T23:59:59.999999999Z": (253_402_300_799_999_999, None),
}
BEFORE_1970 = [
    "-86401.999999000",
    "-1.999999000",
    "-0.000001000",
    "-0.000000001",
    "1969-12-31T23:59:59.999999999Z",
    "0001-01-01T00:00:00Z",
]
UNREADABLE = ["", "yesterday", "1700000000.12x", "12:99", "2023-02-30T00:00:00Z", "1e9"]


def test_times_are_exact_microseconds_of_either_form(tmp_path: Path):
    rows = rows_of(
        write_by_hand(tmp_path / "x.ndjson.zst", [{"frame_time_epoch": text} for text in TIMES])
    )
    assert dict(zip(TIMES, picked(rows, "ts", "skipped"), strict=True)) == TIMES


def test_packets_before_1970_and_without_a_time_are_skipped_with_the_reason(tmp_path: Path):
    rows = rows_of(
        write_by_hand(
            tmp_path / "x.ndjson.zst",
            [{"frame_time_epoch": text} for text in (*BEFORE_1970, *UNREADABLE)],
        )
    )
    reasons = dict(zip((*BEFORE_1970, *UNREADABLE), (row["skipped"] for row in rows), strict=True))
    assert reasons == dict.fromkeys(BEFORE_1970, "time before 1970") | dict.fromkeys(
        UNREADABLE, "time not readable"
    )


def test_odd_times_of_a_real_capture(tmp_path: Path):
    question = traffic.dns()[0]
    frames = [Frame(question, time) for time in (*ODD_TIMES.values(), -1_000)]
    rows = rows_of(
        documents_of(write_pcapng(tmp_path / "x.pcapng", frames, tsresol=6, tsoffset=-100_000))
    )
    found = dict(zip((*ODD_TIMES, "just before"), picked(rows, "ts", "skipped"), strict=True))
    assert {name: skipped for name, (_, skipped) in found.items() if skipped} == {
        **dict.fromkeys(["before 1970", "just before"], "time before 1970"),
        "beyond 9999": "time after 9999",
        "none": "time not readable",
    }
    stored = {name: time for name, (time, skipped) in found.items() if not skipped}
    assert stored == {
        name: ODD_TIMES[name] // 1_000 for name in ("1970", "2261", "beyond 2262", "9999")
    }


def test_a_time_with_nanoseconds_is_cut_not_rounded(tmp_path: Path):
    times = [START_NS, START_NS + 999, 10**9 - 1, 2**32 * 10**9 - 1]
    rows = rows_of(
        documents_of(write_pcap(tmp_path / "x.pcap", [Frame(QUESTION, time) for time in times]))
    )
    assert [row["ts"] for row in rows] == [time // 1_000 for time in times]


# Documents as such


def test_no_packets_are_no_rows_with_all_columns(tmp_path: Path):
    with typed_rows(write_by_hand(tmp_path / "x.ndjson.zst", [])) as connection:
        table = connection.sql("FROM typed").to_arrow_table()
    assert table.num_rows == 0
    assert table.column_names[0] == "ts"


NONSENSE: dict[str, Callable[[], dict[str, str | list[str]]]] = {
    "no protocols": partial(dict, frame_protocols=""),
    "fewer values than layers": partial(
        dict, frame_protocols="eth:ethertype:ip:gre:ip:tcp", ip_src="1.2.3.4", tcp_stream=["1"]
    ),
    "numbers that are none": partial(
        dict,
        frame_len="long",
        frame_protocols="eth:ethertype:ip:tcp",
        ip_proto="300",
        tcp_srcport="x",
        tcp_stream="-",
    ),
    "a number too large": partial(
        dict,
        frame_len="99999999999999999999",
        frame_protocols="eth:ethertype:ip:tcp",
        vlan_id="99999999999",
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_packet_that_no_rule_fits_is_a_row_all_the_same(tmp_path: Path, name: str):
    [row] = rows_of(write_by_hand(tmp_path / "x.ndjson.zst", [NONSENSE[name]()]))
    assert (row["frame_number"], row["ts"], row["skipped"]) == (1, 1_700_000_000_000_000, None)
    assert picked([row], "ip_src", "address_src", "port_src", "ip_proto", "vlan_id") == [
        (None, None, None, "Unknown", None)
    ]


def test_nothing_is_left_beside_the_documents_also_if_they_are_damaged(tmp_path: Path):
    path = write_by_hand(tmp_path / "x.ndjson.zst", [{}] * 3)
    assert len(rows_of(path)) == 3
    beside = [path.with_suffix(".sums"), *astuple(said_in(tmp_path))]
    left = sorted([path, *typed_of(path), *beside])
    assert sorted(tmp_path.iterdir()) == left
    path.write_bytes(path.read_bytes()[10:])
    with pytest.raises(duckdb.Error):
        rows_of(path)
    assert sorted(tmp_path.iterdir()) == left


def test_many_packets_of_many_streams_keep_their_names(tmp_path: Path):
    """Far more packets than DuckDB works on at once."""
    tcp = {"frame_protocols": "eth:ethertype:ip:tcp:tls", "ip_src": CLIENT, "ip_dst": OTHER_SERVER}
    packets = [
        {
            **tcp,
            "tcp_stream": str(number % 997),
            "tls_handshake_extensions_server_name": f"s{number % 997}.example"
            if number % 7 == 0
            else "",
        }
        for number in range(1, 40_001)
    ]
    with typed_rows(write_by_hand(tmp_path / "x.ndjson.zst", packets)) as connection:
        wrong = connection.sql(
            "SELECT count(*) FROM typed WHERE tls_sni <> 's' || stream_index || '.example' "
            "OR stream_index <> frame_number % 997"
        )
        assert wrong.fetchall() == [(0,)]
        assert connection.sql(
            "SELECT count(*), count(DISTINCT frame_number) FROM typed"
        ).fetchall() == [(40_000, 40_000)]
