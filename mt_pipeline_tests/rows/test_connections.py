"""What became of a connection: its state, its handshake, its TLS, its HTTP, from real packets."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.rows.flows import flows
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.building import tunnels
from mt_pipeline_tests.building.files import Frame, timed, write_pcap
from mt_pipeline_tests.building.traffic import (
    CLIENT,
    FROM_CLIENT,
    FROM_SERVER,
    SERVER,
    dns,
    ethernet,
    http,
    ssdp,
    tcp_session,
    tls_session,
)
from mt_pipeline_tests.rows.test_flows import load_files, sources_of

Row = dict[str, object]

STATES = {
    "unanswered": "> S, > S",
    "refused": "> S, < RA",
    "reset": "> S, < SA, > A, > PA, < R",
    "closed": "> S, < SA, > A, > FA, < FA, > A",
    "established": "> S, < SA, > A, > PA, < A",
    "midstream": "> PA, < A",
}
MORE = {
    "reset by a scanner": ("> S, < SA, > R", "reset"),
    "closed by one end": ("> S, < SA, > A, > FA, < A", "established"),
    "seen one way": ("> S, > A, > PA", "established"),
    "answers alone": ("< SA, < A", "established"),
    "midstream reset": ("> PA, < R", "reset"),
    "midstream closed": ("> FA, < FA", "closed"),
    "closed and reset": ("> S, < SA, > A, > FA, < FA, > R", "reset"),
    "refused at the second try": ("> S, > S, < RA", "refused"),
}


def connection(
    steps: str,
    *,
    port: int = 50_000,
    server_port: int = 443,
    client: str = CLIENT,
    server: str = SERVER,
) -> list[bytes]:
    """Write segments such as `> S, < SA`: from client or server, and their flags."""
    position, frames = {">": 1_000, "<": 5_000}, []
    for step in steps.split(", "):
        way, flags = step.split()
        ends = (client, server, port, server_port)
        if way == "<":
            ends = (server, client, server_port, port)
        payload = b"x" * 10 if "P" in flags else b""
        if flags == "S":  # again, if it is not the first
            position[way] = 1_000
        tcp = TCP(sport=ends[2], dport=ends[3], flags=flags, seq=position[way])
        tcp.ack = position["<" if way == ">" else ">"] if "A" in flags else 0
        frames.append(ethernet(IP(src=ends[0], dst=ends[1]) / tcp / payload))
        position[way] += len(payload) + ("S" in flags or "F" in flags)
    return frames


def flows_of(folder: Path, frames: Sequence[Frame]) -> list[Row]:
    """Return the flows of a capture, by the way that they go."""
    sources = sources_of(write_pcap(folder / "capture", frames), folder)
    return [
        row
        for batch in flows(sources, capture="x/x.pcap", experiment="x")
        for row in batch.to_pylist()
    ]


@pytest.mark.parametrize(
    ("steps", "state"),
    [*((steps, state) for state, steps in STATES.items()), *MORE.values()],
    ids=[*STATES, *MORE],
)
def test_a_connection_has_a_state(tmp_path: Path, steps: str, state: str):
    [flow] = flows_of(tmp_path, timed(connection(steps)))
    assert flow["tcp_state"] == state


def test_the_state_is_that_of_the_end_in_all_seconds(tmp_path: Path):
    segments = connection(STATES["reset"])
    seconds = flows_of(tmp_path, timed(segments, step_ns=10**9))
    assert [flow["tcp_state"] for flow in seconds] == ["reset"] * len(segments)


def test_the_handshake_is_timed_from_syn_to_syn_ack(tmp_path: Path):
    frames = timed(connection("> S, > S, < SA, > A"), step_ns=12_500_000)
    [flow] = flows_of(tmp_path, frames)
    assert flow["handshake_ms"] == 25.0


def test_a_connection_without_a_handshake_has_no_time_of_it(tmp_path: Path):
    frames = [
        *connection(STATES["refused"]),
        *connection(STATES["midstream"], port=50_001),
        *connection("< SA, > S", port=50_002),
        *dns(),
    ]
    assert {flow["handshake_ms"] for flow in flows_of(tmp_path, timed(frames))} == {None}


def test_only_tcp_has_a_state(tmp_path: Path):
    assert {flow["tcp_state"] for flow in flows_of(tmp_path, timed(dns()))} == {None}


def test_retransmissions_are_counted_in_their_second(tmp_path: Path):
    frames = tls_session(data_packets=6)
    twice = [*frames[:8], frames[6], frames[7], *frames[8:]]
    result = flows_of(tmp_path, timed(twice, step_ns=10**9))
    assert [flow["retransmissions"] for flow in result] == [
        int(number in (8, 9)) for number in range(len(twice))
    ]


def test_tls_is_that_of_the_stream_in_all_seconds(tmp_path: Path):
    result = flows_of(tmp_path, timed(tls_session(), step_ns=10**9))
    assert len(result) > 5
    assert {flow["tls_version"] for flow in result} == {"TLSv1.3"}
    assert {flow["ja4"][:10] for flow in result} == {"t13d0203h2"}


OK = (FROM_SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def requests(*methods: str) -> list[bytes]:
    """Ask a server of HTTP with some methods in one connection, and get an answer to each."""
    messages = []
    for method in methods:
        asked = f"{method} / HTTP/1.1\r\nHost: x.example\r\nContent-Length: 0\r\n\r\n"
        messages += [(FROM_CLIENT, asked.encode()), OK]
    return tcp_session(messages, server_port=80)


def http2(method: str) -> list[bytes]:
    """Ask over HTTP/2 in the clear, with the method as text."""
    name = method.encode()
    block = b"\x00\x07:method" + bytes([len(name)]) + name + b"\x86\x84"
    headers = len(block).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + block
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4)
    return tcp_session([(FROM_CLIENT, preface), (FROM_CLIENT, headers)], server_port=80)


@pytest.mark.parametrize(
    ("frames", "methods"),
    [
        (requests("GET"), "GET"),
        (requests("POST", "GET", "POST", "PROPFIND"), "GET,POST,PROPFIND"),
        (requests("=HYPERLINK()"), None),
        ([frame for frame in requests("GET") if b"GET" not in frame], None),
        (ssdp(), "M-SEARCH"),
        (http2("PUT"), "PUT"),
        (tls_session(), None),
    ],
    ids=["one", "several", "none that is known", "answers", "UPnP", "HTTP/2", "encrypted"],
)
def test_a_conversation_has_the_methods_that_it_asked_with(
    tmp_path: Path, frames: Sequence[bytes], methods: str | None
):
    seconds = flows_of(tmp_path, timed(frames, step_ns=10**9))
    assert [flow["http_method"] for flow in seconds] == [methods] * len(frames)


def test_the_method_of_a_packet_that_another_one_quotes_is_not_its_own(tmp_path: Path):
    [flow] = flows_of(tmp_path, timed([tunnels.icmp_error(http()[3])]))
    assert flow["http_method"] is None


def documented(column: str, experiment: str) -> str:
    """Return the query of the guide that has a column, for an experiment."""
    guide = (PROJECT / "docs" / "how-to" / "ask-questions.md").read_text()
    [query] = [text for text in re.findall(r"```sql\n(.*?);\n```", guide, re.S) if column in text]
    return query.replace("flows_kitchen", f"flows_{experiment}")


def test_a_scan_is_seen_by_the_documented_query(database: Database, tmp_path: Path):
    scanner, victim = "192.168.1.66", "192.168.1.20"
    ports = [connection("> S, < RA", server_port=port, client=scanner) for port in range(1, 41)]
    hosts = [
        connection("> S", server=f"192.168.1.{host}", client=scanner) for host in range(80, 90)
    ]
    outside = [
        connection(
            "> S" if port % 2 else "> S, < RA",
            client=SERVER,
            server=victim,
            port=40_000,
            server_port=port,
        )
        for port in range(20, 50)
    ]
    usual = [tls_session(client_port=50_000 + number) for number in range(5)]
    sources = sources_of(
        write_pcap(
            tmp_path / "capture",
            timed(chain.from_iterable([*ports, *hosts, *outside, *usual])),
        ),
        tmp_path,
    )
    load_files(database, sources, capture="scans/x.pcap", experiment="scans")
    with database.connect() as connected:
        found = connected.execute(documented("scanner", "scans").encode()).fetchall()
    assert [row[:5] for row in found] == [
        ("scans/x.pcap", scanner, 11, 41, 50),
        ("scans/x.pcap", SERVER, 1, 30, 30),
    ]
