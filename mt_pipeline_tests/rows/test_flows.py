"""Flows: packets and bytes by second and conversation, compared with a count in plain Python."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest

from mt_pipeline.backends.loads import FlowsDiffer, Load, Lost, NameTaken, Part, Stored, Unreachable
from mt_pipeline.backends.questdb import loader, removal
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.loader import summaries
from mt_pipeline.backends.questdb.table_loader import load_table
from mt_pipeline.enrichment.chain import SCHEMA
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.rows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline.rows.sources import Sources
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import Tshark
from mt_pipeline_tests import flow_reference
from mt_pipeline_tests.backends.questdb.parts import (
    CLIENT,
    SERVER,
    START,
    Answers,
    Packet,
    files_of,
    packet,
    packets,
    select,
    time_of,
)
from mt_pipeline_tests.building import odd, traffic
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.certificates import certified_session
from mt_pipeline_tests.building.everything import ODD_TIMES, everything, odd_times
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.packets.parts import sources_in
from mt_pipeline_tests.soaking.servers import Spare

ROUTER = "192.168.1.1"
CLIENT6, SERVER6 = "fd00:1::20", "2606:2800:220:1:248:1893:25c8:1946"
OF_NAMES = {
    "provider": "netify",
    "app_tag": "named-app",
    "app_category_tag": "named-category",
    "geo_country": "Nowhere",
}
OF_ADDRESSES = {
    **{
        "provider": "netify,offline",
        "app_tag": "addressed-app",
        "app_category_tag": "addressed-category",
    },
    **{
        "geo_continent": "Europe",
        "geo_country": "Italy",
        "geo_city": "São Paulo's",
        "geo_lon": 9.5,
        "geo_lat": -0.25,
    },
}


def without_ip(protocols: str, **fields: str | None) -> dict[str, str | None]:
    """Make the fields of a frame without IP."""
    return {
        "frame_protocols": protocols,
        **dict.fromkeys(
            ["ip_src", "ip_dst", "ip_proto", "tcp_srcport", "tcp_dstport", "tcp_stream"]
        ),
        **fields,
    }


def datagram(**fields: str | None) -> dict[str, str | None]:
    """Make the fields of a UDP packet in stream 0."""
    own = {
        "frame_protocols": "eth:ethertype:ip:udp",
        "ip_proto": "17",
        "udp_srcport": "5000",
        "udp_dstport": "53",
        "udp_stream": "0",
    }
    return {**dict.fromkeys(["tcp_srcport", "tcp_dstport", "tcp_stream"]), **own, **fields}


def summary(database: Database, capture: str) -> Stored:
    return summaries(database, [capture])[capture]


def load_files(database: Database, files: Sources, *, capture: str, experiment: str) -> Stored:
    of_flows = flows.flows(files, capture=capture, experiment=experiment)
    with closing(rows(files, capture=capture, experiment=experiment)) as of_packets:
        [(_, stored)] = loader.load(database, [Load(capture, experiment, of_packets, of_flows)])
    return stored


def load(
    database: Database,
    frames: list[Packet],
    *,
    capture: str,
    experiment: str,
    answers: Answers | None = None,
) -> Stored:
    with files_of(frames, answers) as files:
        return load_files(database, files, capture=capture, experiment=experiment)


def view(database: Database, experiment: str) -> list[dict[str, object]]:
    with database.connect() as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(
            f'SELECT * FROM "flows_{experiment}" ORDER BY capture, ts, conversation'
        ).fetchall()


def flows_of(
    frames: list[Packet],
    answers: Answers | None = None,
    *,
    block: int = 50_000,
    stretch: int = flows.STRETCH,
) -> list[dict[str, object]]:
    """Make the flows of packets without QuestDB."""
    with files_of(frames, answers, block=block) as files:
        batches = flows.flows(files, capture="x/x.pcap", experiment="x", stretch=stretch)
        return [row for batch in batches for row in batch.to_pylist()]


def sources_of(path: Path, folder: Path) -> Sources:
    """Read a capture by tshark and type its packets.

    All names and every second address have answers.
    """
    public = folder / "endpoints"
    sources = sources_in(folder)
    with conversations(public) as listener:
        documents.write(Tshark.find(), path, folder / "documents.ndjson.zst", listener=listener)
        listener.write_packets(sources.packets, sources.sums, sources.said)
        listener.write_names(sources.names)
        endpoints.write(listener, public)
    enrich(public, sources.answers, providers=())
    records = pyarrow.parquet.read_table(sources.answers).to_pylist()
    for number, record in enumerate(records):
        record |= OF_NAMES if record["kind"] == "name" else OF_ADDRESSES if number % 2 else {}
    pyarrow.parquet.write_table(pa.Table.from_pylist(records, schema=SCHEMA), sources.answers)
    return sources


CAPTURES_OF_ALL_KINDS: dict[str, Callable[[Path], object]] = {
    "everything": everything,
    "bulk": lambda path: write_bulk(path, 10_000),
    "another_bulk": lambda path: write_bulk(path, 1_000, seed=7),
    "odd_names": lambda path: write_pcap(
        path, timed([frame for session in odd.odd_tls_sessions() for frame in session])
    ),
    "year_9999": lambda path: odd_times(path, ODD_TIMES["9999"]),
    "before_1970": lambda path: odd_times(path, ODD_TIMES["before 1970"]),
    "no_packets": lambda path: write_pcap(path, []),
}


@dataclass(frozen=True)
class Counted:
    """A capture, its packets as rows, and its flows counted in plain Python."""

    capture: str
    experiment: str
    files: Sources
    packets: list[dict[str, object]]
    flows: list[dict[str, object]]


@pytest.fixture(scope="module", params=CAPTURES_OF_ALL_KINDS)
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """Count a capture once for both ways to QuestDB."""
    folder = tmp_path_factory.mktemp(request.param)
    capture, experiment = f"flows_of_{request.param}/a 'b'.pcap", f"of_{request.param}"
    CAPTURES_OF_ALL_KINDS[request.param](folder / "capture")
    files = sources_of(folder / "capture", folder)
    with closing(rows(files, capture=capture, experiment=experiment)) as batches:
        packets = [row for batch in batches for row in batch.to_pylist()]
    answered = pyarrow.parquet.read_table(files.said.lookups).to_pylist()
    answers = pyarrow.parquet.read_table(files.answers).to_pylist()
    result = flow_reference.flows(packets, answered, answers, flow_reference.said(files))
    return Counted(capture, experiment, files, packets, result)


def test_the_flows_of_a_capture_are_those_that_a_count_in_plain_python_finds(
    database: Database, counted: Counted
):
    stored = load_files(
        database, counted.files, capture=counted.capture, experiment=counted.experiment
    )

    assert view(database, counted.experiment) == counted.flows
    packets = [row for row in counted.packets if row["skipped"] is None]
    lengths = [row["frame_len"] or 0 for row in packets]
    times = [row["ts"] for row in packets]
    assert stored == Stored(
        rows=len(lengths),
        bytes=sum(lengths),
        first=min(times, default=None),
        last=max(times, default=None),
        flows=len(counted.flows),
        flow_packets=len(lengths),
        flow_bytes=sum(lengths),
    )
    assert stored.agrees


def test_each_packet_has_the_number_of_its_conversation(counted: Counted):
    of_conversations = flow_reference.packets_of_conversations(counted.packets).values()
    expected = {
        packet["frame_number"]: packets[0]["frame_number"]
        for packets in of_conversations
        for packet in packets
    }
    found = {row["frame_number"]: row["conversation"] for row in counted.packets}
    assert {number: found[number] for number in expected} == expected
    assert set(expected.values()) == {flow["conversation"] for flow in counted.flows}
    skipped = [row["conversation"] for row in counted.packets if row["skipped"] is not None]
    assert set(skipped) <= {None}


def test_everything_has_flows_of_every_kind(tmp_path: Path):
    """Without them, the comparison above proves little."""
    everything(tmp_path / "capture")
    sources = sources_of(tmp_path / "capture", tmp_path)
    with closing(rows(sources, capture="x/x.pcap", experiment="x")) as batches:
        result = flow_reference.flows([row for batch in batches for row in batch.to_pylist()])
    assert {flow["direction"] for flow in result} == {"outside", "inside", "transit", "none"}
    assert {flow["app_source"] for flow in result} == {"name", "address", "protocol", None}
    assert {flow["provider"] for flow in result} >= {"netify", "netify,offline", None}
    assert {"arp", "tls", "quic", "dns", "igmp", "sctp", "http", "icmpv6"} <= {
        flow["protocol"] for flow in result
    }
    assert [flow for flow in result if flow["packets_out"] and flow["packets_in"]]


@pytest.mark.parametrize("block", [1, 3, 100])
def test_flows_are_the_same_however_the_packets_come_in_blocks(block: int):
    names = {"tls_handshake_extensions_server_name": "a.example", "dns_qry_name": "first.example"}
    frames = [
        packet(
            number,
            tcp_stream=str(number % 3),
            frame_time_epoch=f"{START + number // 4}.{number:06}",
        )
        for number in range(1, 30)
    ]
    frames[7] |= names
    frames += [
        packet(30, **datagram(ip_src=SERVER, ip_dst=CLIENT)),
        packet(31, **datagram(dns_qry_name="second.example")),
    ]
    expected = flows_of(frames)
    assert flows_of(frames, block=block, stretch=block) == expected
    assert len(expected) > 10


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> list[flows.Captured]:
    """Make captures with the same ends, streams and seconds, and what differs in each."""
    taken = []
    for number in range(4):
        folder = tmp_path_factory.mktemp("alike")
        client = {"client": f"192.168.1.2{number % 2}"}
        frames = [
            *traffic.dns(f"asked{number}.example.com", answer=SERVER),
            *traffic.tls_session(None if number == 2 else f"www{number}.example.com", **client),
            *traffic.quic_session(),
            *certified_session(f"certified{number}.example.com", server="93.184.216.99"),
        ]
        write_pcap(folder / "capture", timed(frames if number < 3 else []))
        sources = sources_of(folder / "capture", folder)
        if number == 1:  # another answer for the same address
            records = pyarrow.parquet.read_table(sources.answers)
            place = records.schema.get_field_index("geo_country")
            elsewhere = pa.array(["Elsewhere"] * records.num_rows)
            pyarrow.parquet.write_table(
                records.set_column(place, "geo_country", elsewhere), sources.answers
            )
        taken.append(flows.Captured(f"alike/room/{number}.pcap", "alike", sources))
    return taken


@pytest.mark.parametrize("most", [flows.STRETCH, 20, 0])
def test_captures_that_share_the_work_have_the_flows_that_each_has_alone(
    alike: list[flows.Captured], most: int
):
    alone = [
        [
            row
            for batch in flows.flows(taken.sources, capture=taken.key, experiment=taken.experiment)
            for row in batch.to_pylist()
        ]
        for taken in alike
    ]
    together = [
        [row for batch in batches for row in batch.to_pylist()]
        for batches in flows.flows_together(alike, most=most)
    ]

    assert together == alone
    assert {row["capture"] for row in together[1]} == {alike[1].key}
    assert len({row["geo_country"] for rows in alone for row in rows}) > 2
    names = {row["remote_name"] for rows in alone for row in rows}
    assert {"asked2.example.com", "www1.example.com", "certified0.example.com"} <= names


def test_batches_have_the_columns_in_their_order_and_their_types_whatever_is_in_them():
    arrow = {
        "TIMESTAMP": pa.timestamp("us"),
        "INT": pa.int32(),
        "LONG": pa.int64(),
        "DOUBLE": pa.float64(),
    }
    text = pa.dictionary(pa.int32(), pa.string())
    frames = [packet(1, **without_ip("eth:ethertype:arp"))]
    with files_of(frames, {}) as files:
        [batch] = flows.flows(files, capture="x/x.pcap", experiment="x")
    assert [(field.name, field.type) for field in batch.schema] == [
        (column.name, arrow.get(column.type, text)) for column in FLOW_COLUMNS
    ]


def test_a_second_and_its_two_directions_are_counted_to_the_microsecond():
    times = ["5.000000", "5.999999", "6.000000", "6.5"]
    lengths = ["60", "1500", "70", "80"]
    back = {"ip_src": SERVER, "ip_dst": CLIENT, "tcp_srcport": "443", "tcp_dstport": "50000"}
    frames = [
        packet(number, frame_time_epoch=f"1{time}", frame_len=length)
        for number, (time, length) in enumerate(zip(times, lengths, strict=True), 1)
    ]
    frames[1] |= back
    first, second = flows_of(frames)
    counts = ("conversation", "packets_out", "bytes_out", "packets_in", "bytes_in")
    assert [first[name] for name in counts] == [1, 1, 60, 1, 1500]
    assert [second[name] for name in counts] == [1, 2, 150, 0, 0]
    assert [
        flow[name].microsecond for flow in (first, second) for name in ("ts", "first_ts", "last_ts")
    ] == [0, 0, 999_999, 0, 0, 500_000]
    assert second["ts"] - first["ts"] == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("source", "target", "direction", "local", "remote"),
    [
        (CLIENT, SERVER, "outside", CLIENT, SERVER),
        (SERVER, CLIENT, "outside", CLIENT, SERVER),
        (CLIENT, ROUTER, "inside", CLIENT, ROUTER),
        (ROUTER, CLIENT, "inside", ROUTER, CLIENT),
        (CLIENT, "224.0.0.251", "inside", CLIENT, "224.0.0.251"),
        ("0.0.0.0", "255.255.255.255", "inside", "0.0.0.0", "255.255.255.255"),  # noqa: S104
        ("8.8.8.8", SERVER, "transit", "8.8.8.8", SERVER),
        (SERVER, "8.8.8.8", "transit", SERVER, "8.8.8.8"),
    ],
)
def test_the_remote_end_is_the_public_one_else_the_one_that_did_not_begin(
    source: str, target: str, direction: str, local: str, remote: str
):
    back = {"ip_src": target, "ip_dst": source, "tcp_srcport": "443", "tcp_dstport": "50000"}
    first, second = flows_of(
        [packet(1, ip_src=source, ip_dst=target), packet(2, ip_src=source, ip_dst=target) | back]
    )
    for flow in (first, second):
        assert (flow["direction"], flow["local"], flow["remote"]) == (direction, local, remote)
        assert {flow["local"]: flow["port_local"], flow["remote"]: flow["port_remote"]} == {
            source: 50_000,
            target: 443,
        }
    assert (first["packets_out"], first["packets_in"]) == ((1, 0) if local == source else (0, 1))
    assert (second["packets_out"], second["packets_in"]) == ((0, 1) if local == source else (1, 0))


def test_ipv6_has_ends_like_ipv4():
    fields = {
        "frame_protocols": "eth:ethertype:ipv6:tcp",
        "ip_src": None,
        "ip_dst": None,
        "ip_proto": None,
        "ipv6_nxt": "6",
    }
    frames = [
        packet(1, ipv6_src=SERVER6, ipv6_dst=CLIENT6, **fields),
        packet(2, ipv6_src="fe80::1", ipv6_dst="ff02::1", **fields),
    ]
    outside, multicast = flows_of(frames)
    assert [
        outside[name] for name in ("local", "remote", "direction", "ip_proto", "packets_in")
    ] == [CLIENT6, SERVER6, "outside", "TCP", 1]
    assert [multicast[name] for name in ("local", "remote", "direction", "packets_out")] == [
        "fe80::1",
        "ff02::1",
        "inside",
        1,
    ]


def test_without_addresses_hardware_addresses_and_protocols_tell_conversations_apart():
    phone, router = "02:00:00:00:00:20", "02:00:00:00:00:01"
    frames = [
        packet(1, **without_ip("eth:ethertype:arp", eth_src=phone, eth_dst="ff:ff:ff:ff:ff:ff")),
        packet(2, **without_ip("eth:ethertype:arp", eth_src=router, eth_dst=phone)),
        packet(3, **without_ip("eth:ethertype:arp", eth_src=phone, eth_dst=router)),
        packet(4, **without_ip("eth:ethertype:eapol", eth_src=phone, eth_dst=router)),
        packet(5, **without_ip("")),
        packet(6, **without_ip("eth:ethertype:eapol", eth_src=phone, eth_dst=phone)),
    ]
    result = flows_of([fields | {"frame_time_epoch": f"{START}.5"} for fields in frames])
    columns = "conversation protocol eth_local eth_remote packets_out packets_in".split()
    assert [[flow[name] for name in columns] for flow in result] == [
        [1, "arp", phone, "ff:ff:ff:ff:ff:ff", 1, 0],
        [2, "arp", router, phone, 1, 1],
        [4, "eapol", phone, router, 1, 0],
        [5, None, None, None, 1, 0],
        [6, "eapol", phone, phone, 1, 0],
    ]
    assert {
        (flow["direction"], flow["local"], flow["remote"], flow["ip_proto"]) for flow in result
    } == {("none", None, None, None)}


def test_hardware_addresses_do_not_tell_conversations_apart():
    """Regression: with another router each way a stream was two, one of them begun by the server.

    The addresses are those of the first packet that has one for the end.
    """
    phone, virtual, router = "02:00:00:00:00:20", "00:00:0c:07:ac:01", "02:00:00:00:00:d1"
    there = {"ip_src": "10.0.1.5", "ip_dst": "10.0.2.9", "udp_srcport": "5000", "udp_dstport": "53"}
    back = {"ip_src": "10.0.2.9", "ip_dst": "10.0.1.5", "udp_srcport": "53", "udp_dstport": "5000"}
    for hardware, seen in (
        ([(phone, virtual), (router, phone), (phone, router)], (phone, virtual)),
        ([(phone, None), (router, None)], (phone, router)),  # a Linux cooked capture
    ):
        ways = [there, back, there]
        frames = [
            packet(number, **datagram(**way, eth_src=source, eth_dst=target))
            for number, (way, (source, target)) in enumerate(
                zip(ways, hardware, strict=False), start=1
            )
        ]
        [flow] = flows_of([fields | {"frame_time_epoch": f"{START}.5"} for fields in frames])
        assert (flow["local"], flow["remote"]) == ("10.0.1.5", "10.0.2.9")
        assert (flow["eth_local"], flow["eth_remote"]) == seen
        assert flow["packets_out"] + flow["packets_in"] == len(hardware)
        assert flow["packets_in"] == 1


def test_a_stream_speaks_what_most_of_its_packets_say_beyond_the_transport():
    streams = {
        "0": ["tcp"] * 5 + ["tls"] * 2,
        "1": ["tcp"] * 2,
        "2": ["tcp", "smtp", "tls", "tls"],
        "3": ["tcp", "tls", "http"],
    }
    frames = [
        packet(1, tcp_stream=stream, frame_protocols=f"eth:ethertype:ip:tcp:{name}")
        for stream, names in streams.items()
        for name in names
    ]
    frames = [
        fields | {"frame_number": str(number), "frame_time_epoch": f"{START + number}.0"}
        for number, fields in enumerate(frames, 1)
    ]
    result = flows_of(frames)
    assert {(flow["stream_index"], flow["protocol"]) for flow in result} == {
        (0, "tls"),
        (1, "tcp"),
        (2, "tls"),
        (3, "http"),
    }
    assert len(result) == len(frames)


def test_streams_of_tcp_and_udp_with_one_number_and_new_streams_of_the_same_ports_are_apart():
    ports = {"udp_srcport": "50000", "udp_dstport": "443"}
    frames = [packet(1), packet(2, **datagram(**ports)), packet(3, tcp_stream="1"), packet(4)]
    result = flows_of([fields | {"frame_time_epoch": f"{START}.5"} for fields in frames])
    assert [
        (flow["conversation"], flow["ip_proto"], flow["stream_index"], flow["packets_out"])
        for flow in result
    ] == [
        (1, "TCP", 0, 2),
        (2, "UDP", 0, 1),
        (3, "TCP", 1, 1),
    ]


def test_the_application_and_category_are_those_of_the_server_name_else_of_the_remote_address():
    answers = {
        ("name", "a.example"): OF_NAMES,
        ("address", SERVER): OF_ADDRESSES,
        ("name", "b.example"): {"provider": "netify"},
    }
    answers |= {
        ("address", "8.8.8.8"): {"provider": "offline", "geo_country": "Peru"},
        ("address", "9.9.9.9"): {"app_tag": "lone"},
    }
    hello = "tls_handshake_extensions_server_name"
    frames = [
        packet(1, **{hello: "A.example."}),
        packet(2, tcp_stream="1"),
        packet(3, tcp_stream="2", **{hello: "b.example"}),
        packet(4, tcp_stream="3", ip_dst="8.8.8.8"),
        packet(5, tcp_stream="4", ip_dst="9.9.9.9"),
        packet(6, tcp_stream="5", ip_dst=ROUTER),
    ]
    columns = ("app_tag", "app_category_tag", "app_source", "provider", "geo_country")
    assert [[flow[name] for name in columns] for flow in flows_of(frames, answers)] == [
        ["named-app", "named-category", "name", "netify,offline", "Italy"],
        ["addressed-app", "addressed-category", "address", "netify,offline", "Italy"],
        ["addressed-app", "addressed-category", "address", "netify,offline", "Italy"],
        [None, None, None, "offline", "Peru"],
        ["lone", None, "address", None, None],
        [None, None, None, None, None],
    ]


def test_a_name_of_the_stream_is_in_all_its_seconds_and_one_that_was_asked_for_in_its_own_only():
    asked = [
        {},
        {"dns_qry_name": "b.example", "http_host": "h.example"},
        {"dns_qry_name": "a.example"},
        {},
    ]
    times = [1, 2, 2, 3]
    frames = [
        packet(number, frame_time_epoch=f"{START + time}.0", **names)
        for number, (time, names) in enumerate(zip(times, asked, strict=True), 1)
    ]
    frames[3] |= {
        "tls_handshake_extensions_server_name": "www.sni.example.com",
        "tls_handshake_extensions_alpn_str": "h2",
    }
    result = flows_of(frames)
    assert [(flow["dns_name"], flow["http_host"]) for flow in result] == [
        (None, None),
        ("b.example", "h.example"),
        (None, None),
    ]
    assert {(flow["tls_sni"], flow["tls_sni_domain"], flow["tls_alpn"]) for flow in result} == {
        ("www.sni.example.com", "example.com", "h2")
    }


def test_any_name_and_any_key_is_stored_and_nul_bytes_are_left_out(database: Database):
    names = [
        "quote'and\"quote.example.com",
        "tab\tin\nline.example.com",
        "back\\slash.example.com",
        "näme.例え.example",
        "x" * 300,
        "%s = $1; --",
        "NaN",
        " ",
    ]
    capture = "flow names/日本 'q' \\ 100%.pcap"
    frames = [
        packet(
            number,
            tcp_stream=str(number),
            tls_handshake_extensions_server_name=name,
            dns_qry_name=name,
            http_host=name,
        )
        for number, name in enumerate(names)
    ]
    frames.append(packet(100, tcp_stream="100", dns_qry_name="nul\0inside.example"))
    answers = {("address", SERVER): {"provider": "netify", "app_tag": "nul\0app"}}
    load(database, frames, capture=capture, experiment="flow_names", answers=answers)
    result = view(database, "flow_names")
    assert [(flow["tls_sni"], flow["dns_name"], flow["http_host"]) for flow in result[:-1]] == [
        (name, name, name) for name in names
    ]
    assert {(flow["capture"], flow["app_tag"]) for flow in result} == {(capture, "nulapp")}
    assert result[-1]["dns_name"] == "nulinside.example"


def test_loading_again_leaves_exactly_the_same_flows(database: Database):
    frames = packets(30)
    first = load(database, frames, capture="flows_again/a.pcap", experiment="flows_again")
    before = view(database, "flows_again")
    assert load(database, frames, capture="flows_again/a.pcap", experiment="flows_again") == first
    assert view(database, "flows_again") == before
    assert len(before) == 30


@pytest.mark.parametrize(
    "changed",
    [
        packets(20),
        packets(30)[4::5],
        [packet(number, frame_time_epoch=f"{START + 10 * number}.5") for number in range(1, 31)],
        [packet(number, ip_src=SERVER, ip_dst=CLIENT) for number in range(1, 31)],
        [packet(number, frame_time_epoch="-1.0") for number in range(1, 31)],
        [],
    ],
    ids=["fewer packets", "another filter", "other times", "other ends", "all skipped", "nothing"],
)
def test_a_changed_capture_leaves_exactly_its_flows_and_those_of_its_neighbour(
    database: Database, changed: list[Packet]
):
    load(database, packets(3), capture="flows_changed/other.pcap", experiment="flows_changed")
    load(database, packets(30), capture="flows_changed/a.pcap", experiment="flows_changed")
    before = view(database, "flows_changed")

    stored = load(database, changed, capture="flows_changed/a.pcap", experiment="flows_changed")

    of_each = {
        name: [
            flow
            for flow in view(database, "flows_changed")
            if flow["capture"] == f"flows_changed/{name}.pcap"
        ]
        for name in ("a", "other")
    }
    with (
        files_of(changed) as files,
        closing(rows(files, capture="flows_changed/a.pcap", experiment="flows_changed")) as batches,
    ):
        assert of_each["a"] == flow_reference.flows(
            [row for batch in batches for row in batch.to_pylist()]
        )
    assert stored.flows == len(of_each["a"])
    assert of_each["other"] == [
        flow for flow in before if flow["capture"] == "flows_changed/other.pcap"
    ]
    # And back: deleted flows are stored again.
    load(database, packets(30), capture="flows_changed/a.pcap", experiment="flows_changed")
    assert view(database, "flows_changed") == before


def test_a_load_that_was_killed_between_packets_and_flows_is_made_good_by_the_next(
    database: Database,
):
    capture, experiment = "flows_killed/a.pcap", "flows_killed"
    load(database, packets(3), capture=capture, experiment=experiment)
    with (
        files_of(packets(5)) as files,
        closing(rows(files, capture=capture, experiment=experiment)) as batches,
    ):
        load_table(database, [Part(capture, experiment, batches)])
    assert not summary(database, capture).agrees
    assert load(database, packets(5), capture=capture, experiment=experiment).agrees
    assert len(view(database, experiment)) == 5


def test_two_captures_of_an_experiment_with_the_same_packets_have_flows_of_their_own(
    database: Database,
):
    for name in ("a", "b"):
        load(database, packets(3), capture=f"flows_two/{name}.pcap", experiment="flows_two")
    result = view(database, "flows_two")
    assert [(flow["capture"], flow["ts"], flow["packets_out"]) for flow in result] == [
        (f"flows_two/{name}.pcap", time_of(number), 1)
        for name in ("a", "b")
        for number in (1, 2, 3)
    ]


def test_removed_captures_have_no_flows_and_can_be_loaded_again(database: Database):
    for name in ("a", "b"):
        load(database, packets(3), capture=f"flows_removed/{name}.pcap", experiment="flows_removed")
    assert removal.remove(database, "flows_removed/a.pcap") == 3
    assert {flow["capture"] for flow in view(database, "flows_removed")} == {"flows_removed/b.pcap"}
    assert summary(database, "flows_removed/a.pcap") == Stored(0, 0, None, None, 0, 0, 0)
    load(database, packets(3), capture="flows_removed/a.pcap", experiment="flows_removed")
    assert len(view(database, "flows_removed")) == 6


def test_lengths_that_no_column_holds_count_as_packets_without_bytes(database: Database):
    stored = load(
        database,
        [packet(1, frame_len="2147483648"), packet(2, frame_len="2147483647")],
        capture="flows_giant/a.pcap",
        experiment="flows_giant",
    )
    assert (stored.rows, stored.bytes, stored.flow_packets, stored.flow_bytes) == (
        2,
        2_147_483_647,
        2,
        2_147_483_647,
    )


def test_flows_that_lack_a_packet_fail_the_load_and_say_what_they_have(database: Database):
    capture, experiment = "flows_differ/a.pcap", "flows_differ"
    message = (
        f"{capture}: the flows have 2 packets and 120 bytes, the rows 3 and 180; "
        "launch the capture again"
    )
    with files_of([*packets(2), packet(3, tcp_stream="1")]) as files:
        of_packets = rows(files, capture=capture, experiment=experiment)
        of_flows = flows.flows(files, capture=capture, experiment=experiment)
        lacking = (batch.slice(0, batch.num_rows - 1) for batch in of_flows)
        with closing(of_packets), pytest.raises(FlowsDiffer, match=message) as differ:
            loader.load(database, [Load(capture, experiment, of_packets, lacking)])
    assert (differ.value.stored.flows, differ.value.stored.agrees) == (2, False)


def test_what_questdb_holds_is_compared_not_what_was_sent(database: Database):
    load(database, packets(3), capture="flows_held/a.pcap", experiment="flows_held")
    with database.connect() as connection:
        connection.execute(
            "UPDATE flows SET bytes_out = bytes_out + 1 "
            "WHERE capture = 'flows_held/a.pcap' AND conversation = 1"
        )
        connection.execute("SELECT wait_wal_table('flows')")
    stored = summary(database, "flows_held/a.pcap")
    assert not stored.agrees
    assert stored.flow_bytes - stored.bytes == 3


@pytest.mark.parametrize("name", [FLOWS.name, CAPTURES.name, "Flows", "flows_mine"])
def test_a_table_of_the_users_own_in_the_way_is_named_before_anything_is_loaded_and_left_alone(
    spare: Spare, name: str
):
    with spare.database.connect() as connection:
        connection.execute(
            f"CREATE TABLE {name} (ts TIMESTAMP, capture SYMBOL, load LONG, gone BOOLEAN) "
            "TIMESTAMP(ts) PARTITION BY DAY WAL"
        )
    with pytest.raises(
        NameTaken, match=rf"QuestDB has a table (?i:{name})\b.*(rename|RENAME).*launch again"
    ):
        load(spare.database, packets(3), capture="mine/a.pcap", experiment="mine")
    left = {name for (name,) in select(spare.database, "SELECT table_name FROM tables()")}
    assert PACKETS.name not in left
    assert select(spare.database, f"SELECT count() FROM {name}") == [(0,)]
    assert len(select(spare.database, f'SELECT "column" FROM (SHOW COLUMNS FROM {name})')) == 4


def test_traffic_of_a_home_is_many_packets_and_few_flows(tmp_path: Path):
    """A download of a thousand packets is a flow a second, so queries of flows are quick."""
    frames = traffic.tls_session(data_packets=1000)
    files = sources_of(write_pcap(tmp_path / "capture", timed(frames)), tmp_path)
    count = sum(batch.num_rows for batch in flows.flows(files, capture="x/x.pcap", experiment="x"))
    assert len(frames) / count > 100


def test_a_server_that_stops_in_the_middle_of_a_load_is_told_from_one_that_is_away(spare: Spare):
    """What was loaded may have ended it, which of one that was away nobody can say."""
    impatient = replace(spare.database, retry_seconds=1)

    def deadly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            spare.kill()
            yield batch

    def attempt(
        deadly: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    ) -> type[Exception]:
        with (
            files_of(packets(10)) as files,
            closing(rows(files, capture="lost/a.pcap", experiment="lost")) as of_packets,
        ):
            with pytest.raises(Unreachable) as raised:
                loader.load(impatient, [Load("lost/a.pcap", "lost", deadly(of_packets), iter(()))])
            return raised.type

    assert attempt(deadly) is Lost
    assert attempt(iter) is Unreachable
