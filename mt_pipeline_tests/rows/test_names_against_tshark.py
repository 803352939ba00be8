"""Names of remote ends against what tshark itself lists, and DNS against the names in hellos."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import Conversations, conversations
from mt_pipeline.rows import flows
from mt_pipeline.rows.sources import Sources
from mt_pipeline.tshark import documents
from mt_pipeline_tests.building.devices import host, says_mdns
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, quic_session, tls_session, udp_exchange
from mt_pipeline_tests.packets.parts import sources_in
from mt_pipeline_tests.tshark.parts import tshark

SITES = {f"www.site{number}.com": f"93.184.216.{1 + number % 20}" for number in range(60)}
"""Each address is that of three sites, one after the other."""


def chain(name: str, address: str, *, client_port: int) -> list[bytes]:
    """Ask for a name that leads over another one to its address."""
    edge = f"edge.{name}.cdn.example.net"
    question = DNSQR(qname=name, qtype="A")
    records = [
        DNSRR(rrname=name, type="CNAME", rdata=edge),
        DNSRR(rrname=edge, type="A", rdata=address),
    ]
    tell = DNS(id=client_port, qr=1, qd=[question], an=records)
    messages = [(True, bytes(DNS(id=client_port, qd=[question]))), (False, bytes(tell))]
    return udp_exchange(messages, server="8.8.8.8", client_port=client_port, server_port=53)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ask for sites, each in another way, and talk to them."""
    frames = [*says_mdns(host("tv.local"), host("tv.local", "fe80::21"))]
    for number, (name, address) in enumerate(SITES.items()):
        ask = chain if number % 2 else dns
        given = {"answer": address} if ask is dns else {"address": address}
        frames += ask(name, **given, client_port=20_000 + number)
        talk = quic_session if number % 5 == 0 else tls_session
        frames += talk(name, server=address, client_port=40_000 + number)
    frames += dns("six.example.com", answer="2606:2800:220:1:248:1893:25c8:1946")
    return write_pcap(tmp_path_factory.mktemp("named") / "x.pcap", timed(frames))


class WithoutHellos:
    """Conversations that receive documents without what hellos and requests say."""

    keys = Conversations.keys

    def __init__(self, receives: Conversations) -> None:
        self._receives = receives

    def add(self, block: pa.Table) -> None:
        for key in ("tls_handshake_extensions_server_name", "http_host"):
            index = block.schema.get_field_index(key)
            block = block.set_column(index, key, pa.nulls(block.num_rows, block[key].type))
        self._receives.add(block)


def sources_of(path: Path, folder: Path, *, hidden: bool = False) -> Sources:
    sources = sources_in(folder)
    with conversations(folder / "endpoints") as listener:
        receives = WithoutHellos(listener) if hidden else listener
        documents.write(tshark(), path, folder / "documents", listener=receives)
        listener.write_packets(sources.packets, sources.sums, sources.said)
        listener.write_names(sources.names)
        endpoints.write(listener, folder / "endpoints")
    enrich(folder / "endpoints", sources.answers, providers=())
    return sources


def named(sources: Sources) -> dict[object, tuple[object, object]]:
    """Return the domain of each conversation with a name, and where it comes from."""
    batches = flows.flows(sources, capture="x/x.pcap", experiment="x")
    return {
        row["conversation"]: (row["remote_domain"], row["remote_name_source"])
        for batch in batches
        for row in batch.to_pylist()
        if row["remote_name"] is not None
    }


def printed(path: Path, *arguments: str) -> Sequence[str]:
    command = [tshark().program, "-n", "-r", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return done.stdout.splitlines()


def test_dns_alone_gives_the_domains_that_hellos_say(path: Path, tmp_path: Path):
    with_hellos = named(sources_of(path, tmp_path))
    (tmp_path / "hidden").mkdir()
    hidden = named(sources_of(path, tmp_path / "hidden", hidden=True))

    said = {key for key, (_, source) in with_hellos.items() if source == "server_name"}
    asked = {key for key, (_, source) in hidden.items() if source == "dns"}
    assert len(said & asked) == len(SITES)
    same = sum(with_hellos[key][0] == hidden[key][0] for key in said & asked)
    assert same >= 0.98 * len(SITES)


def test_names_of_addresses_are_those_that_tshark_lists(path: Path, tmp_path: Path):
    said = pyarrow.parquet.read_table(sources_of(path, tmp_path).said.lookups).to_pylist()
    ours = {(row["address"], row["canonical"] or row["name"]) for row in said}
    assert len(ours) > len(SITES)

    lines = printed(path, "-N", "d", "-q", "-z", "hosts")
    theirs = {tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")}
    assert theirs <= ours  # it has one name for each address
    assert {address for address, _ in theirs} == {address for address, _ in ours}


def test_server_names_are_those_that_tshark_shows(path: Path, tmp_path: Path):
    batches = flows.flows(sources_of(path, tmp_path), capture="x/x.pcap", experiment="x")
    ours = {
        (row["remote"], row["remote_name"])
        for batch in batches
        for row in batch.to_pylist()
        if row["remote_name_source"] == "server_name"
    }

    field = "tls.handshake.extensions_server_name"
    theirs = printed(path, "-Y", field, "-T", "fields", "-e", "ip.dst", "-e", field)
    assert ours == {tuple(line.split("\t")) for line in theirs}
    assert len(ours) == len(SITES)
