"""The name of a remote end: what the conversation says, then what DNS said, and how sure it is."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.rows import flows
from mt_pipeline.rows.remote_names import SOURCES
from mt_pipeline.rows.sources import Sources
from mt_pipeline.tshark import documents
from mt_pipeline_tests.backends.questdb.parts import START, Packet, files_of, packet
from mt_pipeline_tests.building.certificates import certified_session
from mt_pipeline_tests.building.devices import host, says_mdns, service
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session, udp_exchange
from mt_pipeline_tests.packets.parts import sources_in
from mt_pipeline_tests.tshark.parts import tshark

CLIENT, OTHER, RESOLVER, SERVER = "192.168.1.20", "192.168.1.30", "192.168.1.1", "93.184.216.34"


def answer(number: int, name: str, *addresses: str, client: str = CLIENT) -> Packet:
    """Build an answer of DNS, `number` seconds after the start."""
    return packet(
        number,
        ip_src=RESOLVER,
        ip_dst=client,
        ip_proto="17",
        frame_protocols="eth:ethertype:ip:udp:dns",
        tcp_stream=None,
        tcp_srcport=None,
        tcp_dstport=None,
        udp_srcport="53",
        udp_dstport="40000",
        udp_stream=str(number),
        dns_qry_name=name,
    ) | {"dns_a": addresses}


def names_of(
    frames: Iterable[Packet], *, remote: str = SERVER, reverse: str | None = None
) -> set[tuple[object, ...]]:
    """Return name, source, number of names and domain of the conversations with an address."""
    return {
        tuple(row[f"remote_{what}"] for what in ("name", "name_source", "names", "domain"))
        for row in flows_of(frames, reverse)
        if row["remote"] == remote
    }


def flows_of(frames: Iterable[Packet], reverse: str | None = None) -> list[dict[str, object]]:
    with files_of(frames, {("address", SERVER): {"reverse_name": reverse}}) as files:
        batches = flows.flows(files, capture="x/x.pcap", experiment="x")
        return [row for batch in batches for row in batch.to_pylist()]


SAID = {
    "tls_handshake_extensions_server_name": "WWW.Said.example.com.",
    "http_host": "host.example.com:80",
}


def multicast(number: int, *names: str, address: str = SERVER) -> Packet:
    """Build an answer of multicast DNS, which has no question."""
    said = answer(number, "", address, client="224.0.0.251") | {
        "frame_protocols": "eth:ethertype:ip:udp:mdns",
        "dns_resp_name": names,
        "dns_resp_type": ["1"] * len(names),
    }
    return {key: value for key, value in said.items() if key != "dns_qry_name"}


def certificate(number: int, *names: str, **fields: str) -> Packet:
    """Build a packet with the certificate of the server."""
    ends = {"ip_src": SERVER, "ip_dst": CLIENT, "tcp_srcport": "443", "tcp_dstport": "50000"}
    protocols = "eth:ethertype:ip:tcp:tls:x509sat:x509ce:x509ce"
    return packet(number, frame_protocols=protocols, **ends | fields) | {"dns_resp_name": names}


ANSWERS = {
    "dns": answer(1, "asked.example.com", SERVER),
    "mdns": multicast(1, "said.local"),
    "dns_other_client": answer(2, "other.example.com", SERVER, client=OTHER),
    "dns_later": answer(9, "later.example.com", SERVER),
    "certificate": certificate(6, "*.example.com", "cert.example.com", "b.example.net"),
}
IN_ORDER = {
    "server_name": ("www.said.example.com", "server_name", 1, "example.com"),
    "http_host": ("host.example.com", "http_host", 1, "example.com"),
    "dns": ("asked.example.com", "dns", 1, "example.com"),
    "mdns": ("said.local", "mdns", 1, "said.local"),
    "dns_other_client": ("other.example.com", "dns_other_client", 1, "example.com"),
    "dns_later": ("later.example.com", "dns_later", 1, "example.com"),
    "certificate": ("cert.example.com", "certificate", 2, "example.com"),
    "reverse": ("ec2-93-184.example.net", "reverse", 1, "example.net"),
    "none": (None, None, None, None),
}


def test_the_sources_are_all_and_in_order():
    assert [*IN_ORDER][:-1] == [*SOURCES]


@pytest.mark.parametrize("taken_away", range(len(IN_ORDER)))
def test_each_source_takes_over_where_those_before_it_say_nothing(taken_away: int):
    left = [*IN_ORDER][taken_away:]
    said = dict(zip(SAID, ("server_name", "http_host"), strict=True))
    spoken = {key: value for key, value in SAID.items() if said[key] in left}
    frames = [packet(5, **spoken), *(ANSWERS[name] for name in left if name in ANSWERS)]

    reverse = "EC2-93-184.example.net." if "reverse" in left else None
    assert names_of(frames, reverse=reverse) == {IN_ORDER[left[0]]}


@pytest.mark.parametrize("text", ["93.184.216.34", "<b>", "two words", "", "a" * 300])
def test_what_a_provider_calls_an_address_counts_only_if_it_is_a_name(text: str):
    assert names_of([packet(5)], reverse=text) == {IN_ORDER["none"]}


def test_the_last_answer_before_the_conversation_counts_and_says_how_many_there_were():
    frames = [
        answer(1, "first.example.com", SERVER, "9.9.9.9"),
        answer(2, "first.example.com", SERVER),
        answer(3, "second.example.org", SERVER),
        packet(4),
        answer(6, "third.example.net", SERVER),
    ]
    assert names_of(frames) == {("second.example.org", "dns", 2, "example.org")}
    assert names_of(reversed(frames)) == {("second.example.org", "dns", 2, "example.org")}


def test_two_clients_may_know_an_address_by_different_names():
    of_other = {"ip_src": OTHER, "tcp_stream": "1"}
    frames = [
        answer(1, "mine.example.com", SERVER),
        answer(2, "theirs.example.com", SERVER, client=OTHER),
        packet(3),
        packet(4, **of_other),
    ]
    assert names_of(frames) == {
        ("mine.example.com", "dns", 1, "example.com"),
        ("theirs.example.com", "dns", 1, "example.com"),
    }


def test_a_name_that_moves_to_another_address_names_each_at_its_time():
    frames = [
        answer(1, "moves.example.com", SERVER),
        packet(2),
        answer(3, "moves.example.com", "9.9.9.9"),
        packet(4, ip_dst="9.9.9.9", tcp_stream="1"),
    ]
    assert names_of(frames) == {("moves.example.com", "dns", 1, "example.com")}
    assert names_of(frames, remote="9.9.9.9") == {("moves.example.com", "dns", 1, "example.com")}


def test_a_server_name_is_that_of_the_end_that_serves():
    """A client from outside is not called by the name of the server that it asks for."""
    from_outside = packet(
        1, ip_src=SERVER, ip_dst=CLIENT, tcp_srcport="50000", tcp_dstport="443", **SAID
    )
    assert names_of([from_outside]) == {IN_ORDER["none"]}


def test_of_two_public_ends_the_one_that_serves_is_the_remote_one():
    """A capture may begin in the middle of a conversation, with a packet of the server."""
    to_client = packet(
        1, ip_src=SERVER, ip_dst="9.9.9.9", tcp_srcport="443", tcp_dstport="50000", **SAID
    )
    with files_of([to_client], {("address", SERVER): {}, ("address", "9.9.9.9"): {}}) as files:
        [batch] = flows.flows(files, capture="x/x.pcap", experiment="x")
    [flow] = batch.to_pylist()
    assert (flow["local"], flow["remote"], flow["direction"]) == ("9.9.9.9", SERVER, "transit")
    assert flow["remote_name"] == "www.said.example.com"


NO_NAMES = ["*.example.com", "93.184.216.34", "<b>x</b>", "localhost", "a b.c", "x" * 300, "ü.com"]


def test_what_is_no_name_of_a_host_in_a_certificate_names_nothing():
    assert names_of([certificate(1, *NO_NAMES), packet(2)]) == {IN_ORDER["none"]}


def test_a_certificate_of_500_names_says_how_many_it_may_be():
    names = [f"n{number}.example.com" for number in range(500)]
    assert names_of([packet(1), certificate(2, *NO_NAMES, *names)]) == {
        ("n0.example.com", "certificate", 500, "example.com")
    }


def test_the_certificate_is_that_of_the_end_that_serves():
    """A client may have one, too, and a later one in the same stream is another one."""
    ends = {"ip_src": CLIENT, "ip_dst": SERVER, "tcp_srcport": "50000", "tcp_dstport": "443"}
    frames = [
        certificate(1, "client.example.com", **ends),
        certificate(2, "first.example.com"),
        certificate(3, "second.example.com"),
        certificate(4, "other.example.com", tcp_stream="1", ip_src="9.9.9.9"),
    ]
    assert names_of(frames) == {("first.example.com", "certificate", 1, "example.com")}


@pytest.mark.parametrize("name", ["www.bank.example", ".local", "a b.local", "local"])
def test_multicast_dns_names_hosts_of_the_local_network_alone(name: str):
    assert names_of([multicast(1, name), packet(2)]) == {IN_ORDER["none"]}


def test_a_name_of_multicast_dns_with_a_comma_names_nothing():
    """It cannot be told which of the names has the address."""
    said = multicast(1, "a", "b.local", "c.local") | {"dns_resp_type": ["16", "1"]}
    assert names_of([said, packet(2)]) == {IN_ORDER["none"]}


@pytest.mark.parametrize(
    "text", ["93.184.216.34", "<b>x</b>", "a b", "", "..", "-", "x" * 300, "ünicode", "'"]
)
def test_what_is_no_name_names_nothing(text: str):
    spoken = {"tls_handshake_extensions_server_name": text, "http_host": text}
    frames = [answer(1, text, SERVER), packet(2, **spoken)]
    assert names_of(frames) == {IN_ORDER["none"]}


def sources_of(path: Path, folder: Path) -> Sources:
    sources = sources_in(folder)
    with conversations(folder / "endpoints") as listener:
        documents.write(tshark(), path, folder / "documents", listener=listener)
        listener.write_packets(sources.packets, sources.sums, sources.said)
        endpoints.write(listener, folder / "endpoints")
    return sources


def lookups_of(frames: Sequence[bytes], folder: Path) -> list[tuple[object, ...]]:
    """Read frames by tshark, and return client, name and address of what DNS answered."""
    path = write_pcap(folder / "x.pcap", timed(frames))
    table = pyarrow.parquet.read_table(sources_of(path, folder).said.lookups)
    return [(row["client"], row["name"], row["address"]) for row in table.to_pylist()]


def message(*records: tuple[bytes, int, bytes], question: bytes, ttl: int = 60) -> bytes:
    """Build a DNS response; names are in wire format."""
    header = struct.pack("!6H", 1, 0x8180, 1, len(records), 0, 0)
    body = question + struct.pack("!2H", 1, 1)
    for name, kind, data in records:
        body += name + struct.pack("!2HIH", kind, 1, ttl, len(data)) + data
    return header + body


def wire(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


A, CNAME = 1, 5
LONGEST = ".".join(["a" * 63] * 3 + ["b" * 57, "com"])


def response(payload: bytes) -> list[bytes]:
    """Send a query and this response to it."""
    query = payload[:2] + b"\x01\x00\x00\x01" + bytes(6) + payload[12:]
    return udp_exchange([(True, query[:40]), (False, payload)], server=RESOLVER, server_port=53)


def test_with_cnames_the_name_that_was_asked_for_counts(tmp_path: Path):
    chain = message(
        (wire("www.example.com"), CNAME, wire("edge.cdn.example")),
        (wire("edge.cdn.example"), A, bytes([9, 9, 9, 9])),
        question=wire("www.example.com"),
    )
    path = write_pcap(tmp_path / "x.pcap", timed([*response(chain), *tls_session(None)]))
    sources = sources_of(path, tmp_path)
    [lookup] = pyarrow.parquet.read_table(sources.said.lookups).to_pylist()
    assert [lookup[what] for what in ("name", "canonical", "address")] == [
        *("www.example.com", "edge.cdn.example", "9.9.9.9")
    ]


def test_the_last_name_of_a_chain_is_kept_beside_the_name():
    chain = answer(1, "www.example.com", SERVER) | {
        "dns_resp_name": ["www.example.com", "Edge.CDN.example"],
        "dns_resp_type": ["5", "1"],
    }
    alone = answer(1, "www.example.com", SERVER) | {
        "dns_resp_name": ["www.example.com"],
        "dns_resp_type": ["1"],
    }
    said = {"tls_handshake_extensions_server_name": "www.example.com"}
    other = {"tls_handshake_extensions_server_name": "www.example.org"}
    for frames, canonical in (
        ([chain, packet(2)], "edge.cdn.example"),
        ([chain, packet(2, **said)], "edge.cdn.example"),
        ([chain, packet(2, **other)], None),
        ([packet(1), chain | {"frame_time_epoch": f"{START + 5}.000000000"}], "edge.cdn.example"),
        ([alone, packet(2)], None),
    ):
        flows_of_server = [row for row in flows_of(frames) if row["remote"] == SERVER]
        assert {row["remote_canonical_name"] for row in flows_of_server} == {canonical}


@pytest.mark.parametrize("ttl", [0, 2**31 - 1])
def test_a_time_to_live_says_nothing(tmp_path: Path, ttl: int):
    payload = message(
        (wire("x.example"), A, bytes([9, 9, 9, 9])), question=wire("x.example"), ttl=ttl
    )
    assert [each[1:] for each in lookups_of(response(payload), tmp_path)] == [
        ("x.example", "9.9.9.9")
    ]


def test_names_of_255_bytes_and_thousands_of_answers_are_taken_as_far_as_tshark_says_them(
    tmp_path: Path,
):
    many = [(b"\xc0\x0c", A, struct.pack("!I", 0x09000001 + number)) for number in range(4_000)]
    assert len(wire(LONGEST)) == 255
    found = lookups_of(response(message(*many, question=wire(LONGEST))), tmp_path)
    assert {name for _, name, _ in found} == {LONGEST}
    assert 100 < len(found) <= 4_000


def test_answers_that_lie_break_nothing(tmp_path: Path):
    loop = message((b"\xc0\x1d", A, bytes(4)), question=b"\xc0\x0c")
    cut = message((wire("x.example"), A, bytes(4)), question=wire("x.example"))[:-3]
    nobody_asked = response(
        message((wire("y.example"), A, bytes([10, 0, 0, 1])), question=wire("y.example"))
    )[1:]
    frames = [*response(loop), *response(cut), *nobody_asked, *nobody_asked]
    found = lookups_of(frames, tmp_path)
    assert [each[1:] for each in found if each[1] == "y.example"] == [("y.example", "10.0.0.1")] * 2


def test_a_certificate_that_tshark_reads_names_the_server(tmp_path: Path):
    names = ["*.x.example", *(f"n{number}.example.com" for number in range(500)), "93.184.216.34"]
    path = write_pcap(tmp_path / "x.pcap", timed(certified_session(*names)))
    [found] = pyarrow.parquet.read_table(sources_of(path, tmp_path).said.certificates).to_pylist()
    assert (found["name"], found["owner"]) == ("n0.example.com", "93.184.216.34")
    assert 50 < found["names"] <= 500  # as many as fit into a value of tshark


def test_multicast_dns_that_tshark_reads_names_hosts_for_every_client(tmp_path: Path):
    frames = says_mdns(
        *service("TV"), host("tv.local"), host("tv.local", "fe80::21"), host("x.com", "10.0.0.1")
    )
    asked = says_mdns(host("known.local"), question="_googlecast._tcp.local")
    assert lookups_of([*frames, *asked], tmp_path) == [
        (None, "tv.local", "192.168.1.21"),
        (None, "tv.local", "fe80::21"),
    ]


def test_a_capture_of_a_look_up_and_a_session_names_the_session(tmp_path: Path):
    frames = [*dns("www.example.com"), *tls_session(None, alpn=())]
    assert lookups_of(frames, tmp_path)[0][1] == "www.example.com"


APPS = {
    "name": ("server-name", "www.said.example.com"),
    "remote_name": ("remote-name", "asked.example.com"),
}
KNOWN = {
    "name": ("server-name", "name"),
    "address": ("address", "address"),
    "remote_name": ("remote-name", "remote_name"),
    "dpi": ("inspected", "dpi"),
    "protocol": ("dns", "protocol"),
    "none": (None, None),
}


@pytest.mark.parametrize("taken_away", range(len(KNOWN)))
def test_each_source_of_applications_takes_over_where_those_before_it_say_nothing(
    taken_away: int, tmp_path: Path
):
    left = [*KNOWN][taken_away:]
    spoken = "dns" if "protocol" in left else "data"
    said = {"tls_handshake_extensions_server_name": APPS["name"][1]} if "name" in left else {}
    frames = [
        answer(1, APPS["remote_name"][1], SERVER),
        packet(5, frame_protocols=f"eth:ethertype:ip:tcp:{spoken}", **said),
    ]
    answers = {
        ("name", name): {"app_tag": app, "provider": source}
        for source, (app, name) in APPS.items()
        if source in left
    }
    address = {"app_tag": "address", "provider": "of-address"} if "address" in left else {}
    found = inspected(tmp_path, "inspected") if "dpi" in left else None
    with files_of(frames, answers | {("address", SERVER): address}) as files:
        sources = replace(files, inspections=found)
        rows = [
            row
            for batch in flows.flows(sources, capture="x/x.pcap", experiment="x")
            for row in batch.to_pylist()
            if row["remote"] == SERVER
        ]
    [row] = rows
    assert (row["app_tag"], row["app_source"]) == KNOWN[left[0]]
    providers = set(str(row["provider"]).split(","))
    assert ("ndpi" in providers, row["app_confidence"]) == (
        (True, "dpi") if left[0] == "dpi" else (False, None)
    )
    assert ("remote_name" in providers) is (left[0] == "remote_name")


def inspected(folder: Path, tag: str, *, is_protocol: bool = False) -> Path:
    """Write what nDPI would find in the conversation of `packet`."""
    ends = {"a_address": CLIENT, "a_port": 50_000, "b_address": SERVER, "b_port": 443}
    found = {"app_tag": tag, "app_category_tag": "c", "confidence": "dpi", "provider": "ndpi"}
    row = {**ends, "ip_proto": "TCP", **found, "is_protocol": is_protocol}
    table = pyarrow.Table.from_pylist([row], schema=inspections.SCHEMA)
    pyarrow.parquet.write_table(table, folder / "inspections")
    return folder / "inspections"


@pytest.mark.parametrize(("spoken", "tag"), [("dns", "dns"), ("data", "other-protocol")])
def test_of_two_that_know_a_protocol_alone_tshark_counts(spoken: str, tag: str, tmp_path: Path):
    frames = [packet(1, frame_protocols=f"eth:ethertype:ip:tcp:{spoken}")]
    with files_of(frames, {("address", SERVER): {}}) as files:
        found = replace(files, inspections=inspected(tmp_path, "other-protocol", is_protocol=True))
        [batch] = flows.flows(found, capture="x/x.pcap", experiment="x")
    assert [row["app_tag"] for row in batch.to_pylist()] == [tag]


def test_a_private_address_has_no_application_by_a_name_that_dns_gives_it():
    frames = [answer(1, "www.netflix.com", "192.168.1.9"), packet(2, ip_dst="192.168.1.9")]
    answers = {("name", "www.netflix.com"): {"app_tag": "netflix"}}
    with files_of(frames, answers) as files:
        [batch] = flows.flows(files, capture="x/x.pcap", experiment="x")
    last = batch.to_pylist()[-1]
    assert (last["remote"], last["remote_name"], last["app_tag"]) == (
        "192.168.1.9",
        "www.netflix.com",
        None,
    )
