"""tshark sees what each builder claims."""

import os
import re
import shutil
import subprocess
from itertools import chain, pairwise
from pathlib import Path

import pytest

from mt_pipeline_tests.building import odd, traffic, tunnels
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.everything import ODD_TIMES, everything, odd_times, tcp_udp_only
from mt_pipeline_tests.building.files import (
    START_NS,
    Frame,
    compress,
    cut,
    in_time_order,
    timed,
    write_pcap,
    write_pcapng,
)
from mt_pipeline_tests.building.hellos import quic_of_aioquic
from mt_pipeline_tests.building.traffic import CLIENT6, SERVER6

SNI, ALPN = "tls.handshake.extensions_server_name", "tls.handshake.extensions_alpn_str"


def run(program: str, *arguments: str | Path, returncode: int = 0) -> str:
    path = shutil.which(program)
    assert path, f"{program} is not on PATH"
    done = subprocess.run(
        [path, *arguments],
        capture_output=True,
        env={**os.environ, "WIRESHARK_CONFIG_DIR": "/nonexistent"},
    )
    assert done.returncode == returncode, done.stderr
    return done.stdout.decode(errors="replace")


def seen(capture: Path, *fields: str) -> list[tuple[str, ...]]:
    """Ask tshark for fields, a tuple per packet."""
    output = run(
        "tshark",
        "-n",
        "-r",
        capture,
        "-T",
        "fields",
        *(part for field in fields for part in ("-e", field)),
    )
    return [tuple(line.split("\t")) for line in output.removesuffix("\n").split("\n")]


def count(capture: Path, *, returncode: int = 0) -> int:
    """Count packets as capinfos does."""
    found = re.search(
        r"Number of packets: +(\d+)", run("capinfos", "-Mc", capture, returncode=returncode)
    )
    assert found
    return int(found[1])


@pytest.mark.parametrize(
    ("options", "fraction"),
    [
        ({}, "123456789"),
        ({"nanoseconds": False}, "123456000"),
        ({"big_endian": True}, "123456789"),
        ({"big_endian": True, "nanoseconds": False}, "123456000"),
    ],
)
def test_pcap_of_every_kind_keeps_frames_and_times(
    tmp_path: Path, options: dict[str, bool], fraction: str
):
    capture = write_pcap(tmp_path / "x.pcap", timed(traffic.dns()), **options)
    assert seen(capture, "frame.time_epoch", "frame.len", "dns.qry.name")[0] == (
        f"1700000000.{fraction}",
        "75",
        "www.example.com",
    )


def test_pcap_refuses_what_it_cannot_hold(tmp_path: Path):
    for frame in (
        Frame(b"x", None),
        Frame(b"x", -1),
        Frame(b"x", 2**32 * 10**9),
        Frame(b"x", 0, link_type=101),
    ):
        with pytest.raises(ValueError, match="write pcapng"):
            write_pcap(tmp_path / "x.pcap", [frame])


@pytest.mark.parametrize(
    ("options", "fraction"),
    [
        ({}, "123456789"),
        ({"tsresol": 6}, "123456000"),
        ({"tsresol": 128 + 20}, "123456001"),
        ({"tsoffset": 1_600_000_000}, "123456789"),
    ],
)
def test_pcapng_of_every_resolution_keeps_times(
    tmp_path: Path, options: dict[str, int], fraction: str
):
    capture = write_pcapng(tmp_path / "x.pcapng", timed(traffic.dns()), **options)
    assert seen(capture, "frame.time_epoch")[0][0] == f"1700000000.{fraction}"


@pytest.mark.parametrize(
    ("time_ns", "printed"),
    [
        (ODD_TIMES["1970"], "0.000001000"),
        # tshark prints the whole seconds below and the fraction above them: this is -86400.000001
        (ODD_TIMES["before 1970"], "-86401.999999000"),
        (ODD_TIMES["2261"], "9183073032.000000000"),
        (ODD_TIMES["beyond 2262"], "10413794160.000000000"),
        (ODD_TIMES["9999"], "253370767608.000000000"),
        (ODD_TIMES["beyond 9999"], "284012568000.000000000"),
        (ODD_TIMES["none"], ""),
    ],
    ids=list(ODD_TIMES),
)
def test_odd_times_reach_tshark(tmp_path: Path, time_ns: int | None, printed: str):
    capture = odd_times(tmp_path / "x.pcapng", time_ns)
    assert [time for (time,) in seen(capture, "frame.time_epoch")] == [
        printed,
        "1700000000.123456000",
    ]


def test_compressed_and_cut_captures_are_read(tmp_path: Path):
    capture = tcp_udp_only(tmp_path / "x.pcap")
    whole = count(capture)
    assert [count(compress(capture, how)) for how in ("gzip", "zstd", "lz4")] == [whole] * 3
    assert count(cut(capture, 10), returncode=1) == whole - 1
    assert (
        count(cut(write_pcapng(tmp_path / "y.pcapng", timed(traffic.dns())), 10), returncode=1) == 1
    )


def test_names_are_where_they_should_be(tmp_path: Path):
    conversations = {
        "www.example.com": traffic.tls_session(),
        "split.example.com": traffic.tls_session(
            "split.example.com", segments=3, client_port=50_001
        ),
        "six.example.com": traffic.tls_session("six.example.com", client=CLIENT6, server=SERVER6),
        "quic.example.com": traffic.quic_session(),
        "pieces.example.com": traffic.quic_session(
            "pieces.example.com", pieces=2, client_port=51_001
        ),
        "aioquic.example.com": traffic.udp_exchange(
            [(True, datagram) for datagram in quic_of_aioquic("aioquic.example.com")],
            server_port=443,
        ),
    }
    packets = seen(
        write_pcap(tmp_path / "x.pcap", timed(chain.from_iterable(conversations.values()))),
        SNI,
        ALPN,
        "tcp.stream",
        "udp.stream",
    )
    assert len(packets) == sum(map(len, conversations.values()))
    assert [packet for packet in packets if packet[0]] == [
        ("www.example.com", "h2,http/1.1", "0", ""),
        ("split.example.com", "h2,http/1.1", "1", ""),
        ("six.example.com", "h2,http/1.1", "2", ""),
        ("quic.example.com", "h3", "", "0"),
        ("pieces.example.com", "h3", "", "1"),
        ("aioquic.example.com", "h3", "", "2"),
    ]
    split = packets[len(conversations["www.example.com"]) :]
    assert [bool(packet[0]) for packet in split[:7]] == [False] * 5 + [True, False], (
        "the name shows with the last of the three segments"
    )


def test_a_stream_can_have_a_second_hello(tmp_path: Path):
    packets = seen(
        write_pcap(
            tmp_path / "x.pcap",
            timed(traffic.tls_session("one.example.com", second_name="two.example.com")),
        ),
        SNI,
        "tcp.stream",
    )
    assert [name for name, _ in packets if name] == ["one.example.com", "two.example.com"]
    assert {stream for _, stream in packets} == {"0"}
    assert all(packets[index][0] == "" for index in (0, 1, 2, -1))


def test_odd_names_are_sent_as_they_are(tmp_path: Path):
    names = [
        name
        for (name,) in seen(
            write_pcap(tmp_path / "x.pcap", timed(chain.from_iterable(odd.odd_tls_sessions()))), SNI
        )
        if name
    ]
    assert len(names) == len(odd.ODD_NAMES)
    assert names[:5] == [
        "comma,in.example.com",
        'quote"in.example.com',
        r"tab\tin.example.com",
        "back\\slash.example.com",
        r"new\nline.example.com",
    ]
    assert names[7:] == ["nul", "UPPER.Example.COM.", "10.0.0.1", "x" * 300]


PLAIN = {
    "dns": (traffic.dns(), ["ip:udp:dns"] * 2),
    "mdns": (traffic.mdns(), ["ip:udp:mdns"]),
    "ssdp": (traffic.ssdp(), ["ip:udp:ssdp"]),
    "broadcast": (traffic.broadcast(), ["ip:udp:data"]),
    "dhcp": (traffic.dhcp(), ["ip:udp:dhcp"]),
    "http": (traffic.http()[3:5], ["ip:tcp:http", "ip:tcp:http:data-text-lines"]),
    "arp": (traffic.arp(), ["arp"] * 2),
    "ping": (traffic.ping(), ["ip:icmp:data"] * 2),
    "ping6": (traffic.ping6(), ["ipv6:icmpv6:data"]),
    "igmp": (traffic.igmp(), ["ip:igmp:igmp"]),
    "sctp": (traffic.sctp(), ["ip:sctp"]),
    "hop by hop": (traffic.hop_by_hop(), ["ipv6:ipv6.hopopts:udp:data"]),
    "fragments6": (traffic.fragments6(), ["ipv6:ipv6.fraghdr:data", "ipv6:ipv6.fraghdr:udp:data"]),
    "fragments4": (traffic.fragments4(), ["ip:data", "ip:data", "ip:udp:data"]),
    "last fragment": (traffic.fragments4(identity=1, last_only=True), ["ip:data"]),
}


def test_plain_traffic_is_dissected_as_named(tmp_path: Path):
    capture = write_pcap(
        tmp_path / "x.pcap", timed(chain.from_iterable(frames for frames, _ in PLAIN.values()))
    )
    protocols = [protocols for (protocols,) in seen(capture, "frame.protocols")]
    assert protocols == [
        f"eth:ethertype:{each}" for _, expected in PLAIN.values() for each in expected
    ]


def test_tunnels_and_quotes_are_dissected_as_named(tmp_path: Path):
    port = iter(range(50_000, 51_000))

    def hello(*, v6: bool = False) -> bytes:
        ends = {"client": CLIENT6, "server": SERVER6} if v6 else {}
        return traffic.tls_session("in.example.com", client_port=next(port), **ends)[3]

    expected = {
        "vlan:ethertype:ip:tcp:tls": tunnels.vlan(hello(), 7),
        "ieee8021ad:ethertype:vlan:ethertype:ip:tcp:tls": tunnels.vlan(hello(), 100, 8),
        "ip:gre:ip:tcp:tls": tunnels.gre(hello()),
        "ip:gre:ipv6:tcp:tls": tunnels.gre(hello(v6=True)),
        "ip:ip:tcp:tls": tunnels.ip_in_ip(hello()),
        "ip:ipv6:tcp:tls": tunnels.ip_in_ip(hello(v6=True)),
        "ipv6:ip:tcp:tls": tunnels.ip_in_ipv6(hello()),
        "ip:udp:gtp:ip:tcp:tls": tunnels.gtp_u(hello()),
        "ip:udp:teredo:ipv6:tcp:tls": tunnels.teredo(hello(v6=True)),
        "ip:udp:vxlan:eth:ethertype:ip:tcp:tls": tunnels.vxlan(hello()),
        "ip:icmp:ip:udp:dns": tunnels.icmp_error(traffic.dns()[0]),
        "ip:icmp:ip:tcp:tls": tunnels.icmp_error(hello(), kind=11, code=0),
        "ipv6:icmpv6:ipv6:tcp:tls": tunnels.icmpv6_error(hello(v6=True)),
    }
    packets = seen(
        write_pcap(tmp_path / "x.pcap", timed(expected.values())), "frame.protocols", "vlan.id", SNI
    )
    assert [protocols for protocols, _, _ in packets] == [
        f"eth:ethertype:{each}" for each in expected
    ]
    assert [ids for _, ids, _ in packets[:2]] == ["7", "8"], (
        "the outer tag of QinQ is ieee8021ad.id"
    )
    assert [name for *_, name in packets if name] == ["in.example.com"] * 12


def test_frames_without_ip_and_of_other_link_types_are_dissected(tmp_path: Path):
    capture = write_pcapng(
        tmp_path / "x.pcapng", [*timed(odd.without_ip()), *odd.other_link_types()]
    )
    assert [protocols for (protocols,) in seen(capture, "frame.protocols")] == [
        *("eth:llc:stp", "eth:llc:data", "eth:ethertype:eapol", "eth:ethertype:lldp"),
        *(
            "raw:ip:udp:dns",
            "raw:ip:udp:dns",
            "sll:ethertype:ip:udp:dns",
            "sll:ethertype:ip:udp:dns",
            "null:ip:udp:dns",
            "null:ip:udp:dns",
        ),
    ]
    alone = write_pcap(tmp_path / "raw.pcap", timed(odd.raw_ip(traffic.dns())), link_type=101)
    assert seen(alone, "frame.protocols") == [("raw:ip:udp:dns",)] * 2


def test_giant_and_shortened_frames_keep_their_lengths(tmp_path: Path):
    frames = [*timed([odd.giant(), odd.giant(40_000)]), *odd.shortened(timed([odd.giant(5_000)]))]
    packets = seen(
        write_pcap(tmp_path / "x.pcap", frames), "frame.len", "frame.cap_len", "tcp.srcport"
    )
    assert packets == [
        ("200000", "200000", "443"),
        ("40000", "40000", "443"),
        ("5000", "96", "443"),
    ]


def test_malformed_frames_are_packets_all_the_same(tmp_path: Path):
    frames = odd.malformed()
    capture = write_pcapng(tmp_path / "x.pcapng", timed(frames))
    assert frames == odd.malformed(), "the same every time"
    assert [int(length) for (length,) in seen(capture, "frame.len")] == list(map(len, frames))
    assert (
        len(run("tshark", "-n", "-r", capture, "-Y", "_ws.malformed || _ws.short").splitlines())
        > 10
    )


def test_everything_is_in_order_whole_and_the_same_every_time(tmp_path: Path):
    capture = everything(tmp_path / "one.pcapng")
    assert capture.read_bytes() == everything(tmp_path / "two.pcapng").read_bytes()
    packets = seen(capture, "frame.time_epoch", "frame.protocols", SNI)
    assert count(capture) == len(packets) > 300
    assert [time for time, _, _ in packets] == sorted(time for time, _, _ in packets)
    assert len({protocols for _, protocols, _ in packets}) > 50
    assert len({name for *_, name in packets}) > 30


def test_the_capture_for_the_original_has_only_ipv4_tcp_and_udp(tmp_path: Path):
    packets = seen(
        tcp_udp_only(tmp_path / "x.pcap", odd_names=True),
        "ip.proto",
        "ip.src",
        "tcp.port",
        "udp.port",
    )
    assert len(packets) > 100
    assert {protocol for protocol, *_ in packets} == {"6", "17"}
    assert all(
        (tcp + udp).count(",") == 1 and source.count(",") == 0 for _, source, tcp, udp in packets
    )


def test_conversations_are_interleaved():
    frames = in_time_order([[b"a1", b"a2", b"a3"], [b"b1"]], step_ns=10)
    assert [(frame.data, frame.time_ns) for frame in frames] == [
        (b"a1", START_NS),
        (b"b1", START_NS + 10),
        (b"a2", START_NS + 20),
        (b"a3", START_NS + 30),
    ]


def test_the_bulk_capture_looks_like_a_busy_network(tmp_path: Path):
    capture = write_bulk(tmp_path / "one.pcap", 20_000)
    assert capture.read_bytes() == write_bulk(tmp_path / "two.pcap", 20_000).read_bytes()
    assert 400 < capture.stat().st_size / 20_000 < 900
    packets = seen(
        capture, "frame.time_epoch", "frame.protocols", "ip.dst", "ipv6.dst", "tcp.stream", SNI
    )
    assert count(capture) == len(packets) == 20_000
    assert [time for time, *_ in packets] == sorted(time for time, *_ in packets)
    assert len({(v4, v6) for _, _, v4, v6, _, _ in packets}) > 300
    assert len({name for *_, name in packets}) > 100
    streams = [stream for *_, stream, _ in packets if stream]
    changes = sum(one != other for one, other in pairwise(streams))
    assert changes > len(streams) / 4, "conversations run at once, not one after the other"
