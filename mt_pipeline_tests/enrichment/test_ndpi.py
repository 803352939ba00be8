"""The provider ndpi: what nDPI finds fills what nobody else knows, and changes nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.enrichment.ndpi.applications import Application, application
from mt_pipeline.enrichment.ndpi.inspections import NotInspected, inspecting
from mt_pipeline.enrichment.offline.provider import Offline
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.rows import flows
from mt_pipeline.rows.sources import Sources
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.limits import DEFAULT, Limits
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap, write_pcapng
from mt_pipeline_tests.building.traffic import CLIENT, SERVER, dns, http, tcp_session, tls_session
from mt_pipeline_tests.packets.parts import sources_in
from mt_pipeline_tests.pipelines import Lab
from mt_pipeline_tests.tshark.parts import tshark

needs_ndpi = pytest.mark.skipif(
    not inspections.is_installed(), reason="`make ndpi` installs nfstream"
)

# The first message of BitTorrent's peers, on a port that says nothing.
BITTORRENT = tcp_session(
    [(True, b"\x13BitTorrent protocol" + bytes(8) + b"i" * 20 + b"-TR3000-" + b"p" * 12)],
    client_port=50_100,
    server_port=40_100,
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("TLS.NetFlix", "Video", 6), Application("netflix", "streaming-media", "dpi", False)),
        (("WhatsAppCall", "VoIP", 5), Application("whatsappcall", "voip", "dpi_cache", False)),
        (("DNS.NetFlix", "Network", 6), Application("dns", "network", "dpi", True)),
        (("BitTorrent", "Download", 1), Application("bittorrent", "file-sharing", "port", True)),
        (("Apple_iCloud", "Web", 7), Application("apple-icloud", "web", "ip", False)),
        (("Telnet", "RemoteAccess", 99), Application("telnet", "remote-desktop", None, True)),
        *[((name, "Web", 6), None) for name in ("TLS", "QUIC", "HTTP", "Unknown", "HTTP.QUIC")],
    ],
)
def test_names_of_ndpi_become_those_of_other_providers(
    found: tuple[str, str, int], expected: Application | None
):
    assert application(*found) == expected


def inspected(capture: Path, limits: Limits = DEFAULT) -> list[dict[str, object]]:
    output = capture.with_name("inspections")
    with inspecting(capture, output, limits) as wait:
        wait()
    return pq.read_table(output).to_pylist()


@needs_ndpi
@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_ndpi_finds_the_application_of_each_conversation(write: Callable, tmp_path: Path):
    frames = [*dns("www.netflix.com"), *tls_session("www.netflix.com"), *BITTORRENT]
    rows = inspected(write(tmp_path / "x.pcap", timed(frames)))
    assert {(row["ip_proto"], row["b_port"], row["app_tag"], row["provider"]) for row in rows} >= {
        ("TCP", 443, "netflix", "ndpi"),
        ("TCP", 40_100, "bittorrent", "ndpi"),
    }
    assert {(row["a_address"], row["b_address"]) for row in rows} >= {(CLIENT, SERVER)}
    assert {row["confidence"] for row in rows} == {"dpi"}


@needs_ndpi
def test_a_file_that_ndpi_cannot_read_is_named_with_the_reason(tmp_path: Path):
    path = tmp_path / "x.pcap"
    path.write_bytes(b"no capture at all" * 9)
    with pytest.raises(NotInspected, match="nDPI stopped with status 1 and said: "):
        inspected(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.pcap"]


@needs_ndpi
def test_ndpi_works_within_the_limits_of_tshark(tmp_path: Path):
    path = write_pcap(tmp_path / "x.pcap", timed(BITTORRENT))
    with pytest.raises(NotInspected, match="nDPI stopped with status"):
        inspected(path, replace(DEFAULT, memory=30_000_000))
    assert [file.name for file in tmp_path.iterdir()] == ["x.pcap"]


def flows_of(sources: Sources) -> list[dict[str, object]]:
    batches = flows.flows(sources, capture="x/x.pcap", experiment="x")
    return [row for batch in batches for row in batch.to_pylist()]


@needs_ndpi
def test_ndpi_never_changes_what_a_name_or_another_provider_says(tmp_path: Path):
    everything(tmp_path / "capture")
    sources = sources_in(tmp_path)
    with conversations(tmp_path / "endpoints") as found:
        documents.write(
            tshark(), tmp_path / "capture", tmp_path / "documents.ndjson.zst", listener=found
        )
        found.write_packets(sources.packets, sources.sums, sources.said)
        found.write_names(sources.names)
        endpoints.write(found, tmp_path / "endpoints")
    enrich(tmp_path / "endpoints", sources.answers, providers=[Offline()])
    assert inspected(tmp_path / "capture")

    before, after = (
        flows_of(sources),
        flows_of(replace(sources, inspections=tmp_path / "inspections")),
    )
    changes = [(one, two) for one, two in zip(before, after, strict=True) if one != two]
    assert changes, "without one, this proves little"
    for one, two in changes:
        assert one["app_source"] in (None, "protocol")
        assert (two["app_source"], "ndpi" in two["provider"]) == ("dpi", True)
        changed = {name for name in one if one[name] != two[name]}
        assert {name.partition("_")[0] for name in changed} <= {"app", "provider"}


@needs_ndpi
def test_the_provider_reads_a_capture_beside_tshark(
    lab: Lab, terminal: Callable, monkeypatch: pytest.MonkeyPatch
):
    """And a capture that was loaded without it when it is refreshed."""
    monkeypatch.setenv("MT_BACKENDS", "parquet")
    monkeypatch.setenv("MT_ENRICHMENT", "offline")
    frames = [*BITTORRENT, *http("www.netflix.com"), *tls_session("pastebin.com")]
    write_pcap(lab.put("torrents/x.pcap", b""), timed(frames))
    assert terminal("ingest", lab.inbox / "torrents").code == 0

    def found() -> set[tuple[object, ...]]:
        [file] = (lab.data / "parquet" / "flows").rglob("*.parquet")
        rows = pq.read_table(file, partitioning=None).to_pylist()
        return {(row["app_tag"], row["app_source"], row["provider"]) for row in rows}

    known = {("bittorrent", "protocol", "offline"), ("netflix", "remote_name", "offline")}
    assert found() == {*known, (None, None, "offline")}
    monkeypatch.setenv("MT_ENRICHMENT", "offline,ndpi")
    assert terminal("refresh", "torrents").out == "1 captures: 1 loaded again, 0 unchanged\n"
    assert found() == {*known, ("pastebin", "dpi", "ndpi,offline")}
    assert terminal("refresh", "torrents").out == "1 captures: 0 loaded again, 1 unchanged\n"
    lab.put("torrents/x.pcap", (lab.inbox / "torrents" / "x.pcap").read_bytes()[:-60])
    assert terminal("ingest", lab.inbox / "torrents").code == 0
    assert ("pastebin", "dpi", "ndpi,offline") in found()


def test_a_provider_that_is_not_installed_is_said_before_anything_is_touched(
    terminal: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inspections, "find_spec", lambda _name: None)
    monkeypatch.setenv("MT_ENRICHMENT", "offline,ndpi")
    result = terminal("refresh", "--all")
    assert result.code
    assert "MT_ENRICHMENT lists ndpi, but the package nfstream is not installed" in result.err
