"""The distinct endpoints of a capture: which there are, and how much of the traffic each has."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.packets.endpoints import REMOTE_NAME, SCHEMA, Endpoints, is_askable
from mt_pipeline.packets.reachability import is_public
from mt_pipeline_tests.building import odd, traffic, tunnels
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import Frame, timed, write_pcap, write_pcapng
from mt_pipeline_tests.building.traffic import (
    CLIENT,
    CLIENT6,
    OTHER_SERVER,
    RESOLVER,
    SERVER,
    SERVER6,
)
from mt_pipeline_tests.packets.parts import Row, rows_of
from mt_pipeline_tests.tshark.parts import documents_of, write_by_hand

NAMES = [
    *(
        "example.com",
        "a.io",
        "www.example.co.uk",
        "xn--nme-pla.example.com",
        "_dmarc.example.com",
        "host_name.example.com",
        "a-b.c-d.ef",
    ),
    *(
        "x" * 63 + ".com",
        ".".join(["y" * 49] * 5) + ".com",
        "1.2.3.4.com",
        "0.example.org",
        "9.9.9.9.in-addr.arpa",
        "corp.com",
        "xlocal.org",
        "test.home.example.net",
    ),
]
NONSENSE = {
    "not one name": ["", ".", "..", "a..com", ".example.com", "example.com.", "localhost", "com"],
    "spaces": ["a b.com", " example.com", "example.com ", "\u00a0a.com"],
    "control characters": ["a\tb.com", "a\nb.com", "example.com\n", "nul\0.com", "\x7f.com"],
    "other characters": [
        "n\u00e4me.example.com",
        "bad\ufffd.com",
        'quote".com',
        "comma,in.com",
        "back\\slash.com",
        "*.example.com",
        "a/b.com",
        "a:1.com",
    ],
    "addresses": [
        "10.0.0.1",
        "8.8.8.8",
        "1.2.3.4.5",
        "2001:db8::1",
        "[2001:db8::1]",
        "::ffff:1.2.3.4",
    ],
    "too long": [
        "x" * 64 + ".com",
        "x" * 300,
        ("x" * 60 + ".") * 5 + "com",
        "y" * 61 + ".com" + ".abc" * 60,
    ],
    "hyphens at an end": ["-a.com", "a-.com", "a.-com", "a.com-"],
    "upper case": ["Example.com"],
    "a last label that no registry gives": ["example.123", "example.c", "example._tcp"],
    "known at home or at work only": [
        "printer.local",
        "a.b.lan",
        "nas.home",
        "nas.home.arpa",
        "git.corp",
        "x.internal",
        "x.test",
        "x.onion",
        "x.invalid",
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_be_one_is_asked(name: str):
    assert is_askable(name)


@pytest.mark.parametrize("why", NONSENSE)
def test_nonsense_is_never_asked(why: str):
    assert [name for name in NONSENSE[why] if is_askable(name)] == []


def test_the_longest_name_has_253_bytes():
    longest = ".".join(["y" * 61] * 4) + ".abcde"
    assert len(longest) == 253
    assert is_askable(longest)
    assert not is_askable(f"{longest}f")


# Of captures


def written(documents: Path) -> tuple[Endpoints, list[Row]]:
    """Write the endpoints of documents; return the summary and the rows."""
    output = documents.parent / "endpoints" / "x.parquet"
    with conversations(output) as streams:
        streams.read(documents)
        summary = endpoints.write(streams, output)
    assert [each.name for each in output.parent.iterdir()] == ["x.parquet"], "no other file is left"
    assert endpoints.summary(output) == summary
    table = pq.read_table(output)
    assert table.schema == SCHEMA
    return summary, table.to_pylist()


def of_kind(rows: Iterable[Row], kind: str) -> set[object]:
    return {row["endpoint"] for row in rows if row["kind"] == kind}


def counted(documents: Path) -> dict[tuple[str, str], Row]:
    """Count the slow way: packet by packet, from the typed rows."""
    found: dict[tuple[str, str], Row] = {}
    for packet in rows_of(documents):
        ends = {
            ("address", end)
            for end in (packet["address_src"], packet["address_dst"])
            if end and is_public(end)
        }
        name = packet["tls_sni"].lower().rstrip(".")
        if packet["tls_sni"] != "Unknown" and is_askable(name):
            ends.add(("name", name))
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=packet["ts"])
        for kind, endpoint in ends:
            new = {
                "kind": kind,
                "endpoint": endpoint,
                "packets": 0,
                "bytes": 0,
                "first_seen": time,
                "last_seen": time,
            }
            row = found.setdefault((kind, endpoint), new)
            row["packets"] += 1
            row["bytes"] += packet["frame_len"]
            row["first_seen"] = min(row["first_seen"], time)
            row["last_seen"] = max(row["last_seen"], time)
    return found


def test_counts_and_times_are_those_of_a_count_packet_by_packet(tmp_path: Path):
    documents = documents_of(everything(tmp_path / "x.pcapng"))
    summary, rows = written(documents)
    expected = counted(documents)
    rows = [row for row in rows if row["kind"] != REMOTE_NAME]
    assert {(row["kind"], row["endpoint"]): row for row in rows} == expected
    assert len(rows) == len(expected) > 30
    packets = rows_of(documents)
    assert (summary.packets, summary.bytes) == (
        len(packets),
        sum(packet["frame_len"] for packet in packets),
    )
    assert (summary.first_us, summary.last_us) == (
        min(packet["ts"] for packet in packets),
        max(packet["ts"] for packet in packets),
    )
    assert (summary.addresses, summary.names) == (
        len(of_kind(rows, "address")),
        len(of_kind(rows, "name")),
    )
    assert summary.skipped == {}


def test_those_with_most_bytes_come_first(tmp_path: Path):
    summary, rows = written(documents_of(everything(tmp_path / "x.pcapng")))
    order = [(row["kind"], -row["bytes"], row["endpoint"]) for row in rows]
    assert order == sorted(order)
    assert (
        summary.top_names
        == [(row["endpoint"], row["bytes"]) for row in rows if row["kind"] == "name"][:10]
    )
    assert len(summary.top_names) == 10


def test_only_distinct_public_addresses_of_the_chosen_layer_are_endpoints(tmp_path: Path):
    frames = [
        *traffic.dns(),
        *traffic.tls_session(None, client=CLIENT6, server=SERVER6),
        *(
            frame
            for make in (
                traffic.mdns,
                traffic.ssdp,
                traffic.broadcast,
                traffic.dhcp,
                traffic.arp,
                traffic.igmp,
            )
            for frame in make()
        ),
        *traffic.udp_exchange([(True, b"x")], client="100.64.1.2", server="203.0.113.9"),
        *(tunnels.gre(frame) for frame in traffic.dns(resolver="9.9.9.9")),
        tunnels.icmp_error(traffic.dns(resolver="1.0.0.1")[0]),
    ]
    _, rows = written(documents_of(write_pcap(tmp_path / "x.pcap", timed(frames))))
    assert of_kind(rows, "address") == {RESOLVER, SERVER6, "9.9.9.9"}
    assert of_kind(rows, "name") == set()


def test_a_packet_from_an_address_to_itself_counts_once(tmp_path: Path):
    frames = traffic.udp_exchange([(True, b"me")] * 3, client=SERVER, server=SERVER)
    _, [row] = written(documents_of(write_pcap(tmp_path / "x.pcap", timed(frames))))
    assert (row["endpoint"], row["packets"], row["bytes"]) == (SERVER, 3, sum(map(len, frames)))


def test_a_name_has_all_packets_of_its_streams_in_both_directions(tmp_path: Path):
    one = traffic.tls_session("www.example.com", client_port=50_000)
    two = traffic.tls_session("WWW.Example.com.", client_port=50_001, server=OTHER_SERVER)
    three = traffic.quic_session("www.EXAMPLE.com")
    frames = [*one, *two, *three, *traffic.dns("www.example.com")]
    summary, rows = written(documents_of(write_pcap(tmp_path / "x.pcap", timed(frames))))
    [name] = [row for row in rows if row["kind"] == "name"]
    mine = [*one, *two, *three]
    assert (name["endpoint"], name["packets"], name["bytes"]) == (
        "www.example.com",
        len(mine),
        sum(map(len, mine)),
    )
    assert summary.top_names == [("www.example.com", sum(map(len, mine)))]


def test_of_a_stream_with_two_names_the_last_is_the_endpoint(tmp_path: Path):
    """What is on the rows is what is asked."""
    documents = documents_of(
        write_pcap(
            tmp_path / "x.pcap",
            timed(traffic.tls_session("one.example.com", second_name="two.example.com")),
        )
    )
    assert (
        of_kind(written(documents)[1], "name")
        == {"two.example.com"}
        == {row["tls_sni"] for row in rows_of(documents)}
    )


def test_odd_names_are_asked_only_if_they_could_be_names(tmp_path: Path):
    frames = [frame for session in odd.odd_tls_sessions() for frame in session]
    documents = documents_of(write_pcap(tmp_path / "x.pcap", timed(frames)))
    assert of_kind(written(documents)[1], "name") == {"upper.example.com"}
    assert {"UPPER.Example.COM.", "10.0.0.1", "x" * 300, "comma,in.example.com"} <= {
        row["tls_sni"] for row in rows_of(documents)
    }


def test_nothing_of_the_table_of_nonsense_becomes_an_endpoint(tmp_path: Path):
    """Case is folded and trailing dots are removed: a packet may write a name in many ways."""
    tcp = {"frame_protocols": "eth:ethertype:ip:tcp:tls", "ip_src": CLIENT, "ip_dst": SERVER}
    spellings = [
        *(name for names in NONSENSE.values() for name in names),
        *(name.upper() + "." for name in NAMES),
    ]
    packets = [
        {**tcp, "tcp_stream": str(number), "tls_handshake_extensions_server_name": name}
        for number, name in enumerate(spellings)
    ]
    summary, rows = written(write_by_hand(tmp_path / "x.ndjson.zst", packets))
    assert of_kind(rows, "name") == set(NAMES)
    assert (summary.names, summary.addresses, summary.packets) == (len(NAMES), 1, len(spellings))
    # `example.com` and `EXAMPLE.COM.` and `Example.com` are one.
    assert {row["endpoint"]: row["packets"] for row in rows if row["packets"] > 1} == {
        SERVER: len(spellings),
        "example.com": 3,
    }


def test_packets_that_cannot_be_stored_are_counted_by_reason_and_do_not_date_anything(
    tmp_path: Path,
):
    question, answer = traffic.dns()
    frames = [
        Frame(question, None),
        Frame(question, -1_000),
        Frame(question, -(10**9)),
        Frame(answer, 5 * 10**9),
        Frame(question, 9_000 * 31_556_952 * 10**9),
    ]
    summary, [row] = written(
        documents_of(write_pcapng(tmp_path / "x.pcapng", frames, tsresol=6, tsoffset=-100))
    )
    assert summary.skipped == {"time not readable": 1, "time before 1970": 2, "time after 9999": 1}
    assert summary.packets == 5
    assert summary.first_us == summary.last_us == 5_000_000
    assert row["first_seen"] == row["last_seen"] == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_an_endpoint_of_packets_without_a_time_has_no_times(tmp_path: Path):
    capture = write_pcapng(tmp_path / "x.pcapng", [Frame(frame, None) for frame in traffic.dns()])
    summary, [row] = written(documents_of(capture))
    assert (summary.first_us, summary.last_us, summary.skipped) == (
        None,
        None,
        {"time not readable": 2},
    )
    assert (row["endpoint"], row["packets"], row["first_seen"], row["last_seen"]) == (
        RESOLVER,
        2,
        None,
        None,
    )


def test_no_packets_are_no_endpoints(tmp_path: Path):
    documents = documents_of(write_pcapng(tmp_path / "x.pcapng", []))
    assert written(documents) == (Endpoints(0, 0, 0, 0, None, None, {}, []), [])


def test_documents_that_are_damaged_leave_no_endpoints(tmp_path: Path):
    documents = write_by_hand(tmp_path / "x.ndjson.zst", [{}] * 3)
    documents.write_bytes(documents.read_bytes()[10:])
    with pytest.raises(duckdb.Error):
        written(documents)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [documents]
    assert list((tmp_path / "endpoints").iterdir()) == []


def test_names_that_http_and_dns_give_to_ends_are_apart_from_those_that_tls_says(tmp_path: Path):
    site, said, other = "www.example.com", "said.example.com", "other.example.com"
    frames = [
        *traffic.dns(site),
        *traffic.dns(said),
        *traffic.dns("not-met.example.com", answer="9.9.9.9", client_port=53_001),
        *traffic.dns("printer.local", client_port=53_002),
        *traffic.dns("inside.example.com", answer="192.168.1.9", client_port=53_003),
        *traffic.http(f"{other}:8080"),
        *traffic.http("192.0.2.1", client_port=50_081),
        *traffic.tls_session(said.upper()),
    ]
    _, rows = written(documents_of(write_pcap(tmp_path / "x.pcap", timed(frames))))
    assert of_kind(rows, "name") == {said}
    assert of_kind(rows, REMOTE_NAME) == {site, other}
    [of_site] = [row for row in rows if row["endpoint"] == site]
    [of_server] = [row for row in rows if row["endpoint"] == SERVER]
    assert (of_site["packets"], of_site["bytes"]) == (of_server["packets"], of_server["bytes"])
