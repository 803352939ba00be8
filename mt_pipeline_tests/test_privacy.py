"""What is sent outside, held by a proxy that records all: docs/how-to/netify.md has the list."""

from collections.abc import Callable, Iterator

import pytest

from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import (
    OTHER_SERVER,
    RESOLVER,
    SERVER,
    dns,
    http,
    quic_session,
    tls_session,
)
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.pipelines import Lab

SAID = {"said.example.com", "quic.example.com"}
OTHERS = {"host.example.com", "asked.example.com"}
FRAMES = [
    *dns("asked.example.com"),
    *dns("in-vain.example.com", answer="192.168.1.9", client_port=53_001),
    *dns("printer.local", client_port=53_002),
    *http("host.example.com"),
    *tls_session("said.example.com"),
    *quic_session("quic.example.com"),
]
ADDRESSES = {SERVER, OTHER_SERVER, RESOLVER}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNetify]:
    """Serve as Netify, and as the proxy of whatever goes elsewhere."""
    with FakeNetify() as fake:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, fake.root)
            monkeypatch.setenv(name.upper(), fake.root)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("MT_NETIFY_URL", fake.url)
        monkeypatch.setenv("MT_NETIFY_RATE", "1000")
        monkeypatch.setenv("MT_BACKENDS", "parquet")
        yield fake


def ingested(lab: Lab, terminal: Callable, experiment: str) -> None:
    write_pcap(lab.put(f"{experiment}/x.pcap", b""), timed(FRAMES))
    assert terminal("ingest", lab.inbox / experiment).code == 0


def test_by_default_nobody_outside_is_asked(
    lab: Lab, terminal: Callable, proxy: FakeNetify, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MT_ENRICHMENT", raising=False)
    monkeypatch.delenv("MT_NETIFY_API_KEY", raising=False)
    ingested(lab, terminal, "nobody")
    assert terminal("refresh", "nobody").code == 0
    assert terminal("coverage", "nobody").code == 0
    assert proxy.requests() == []


def test_netify_is_asked_about_addresses_and_server_names_alone(
    lab: Lab, terminal: Callable, proxy: FakeNetify, monkeypatch: pytest.MonkeyPatch
):
    """And about the other names of public ends only if the user says so."""
    monkeypatch.delenv("MT_ENRICHMENT", raising=False)
    monkeypatch.setenv("MT_NETIFY_API_KEY", "s3cret")
    ingested(lab, terminal, "some")
    assert set(proxy.asked()) == ADDRESSES | SAID
    asked = proxy.asked()
    priced = terminal("refresh", "some", "--dry-run").out.splitlines()
    assert f"netify: {len(OTHERS)} calls more with MT_ENRICHMENT_NAMES=all" in priced
    assert proxy.asked() == asked, "a dry run asks nobody"

    monkeypatch.setenv("MT_ENRICHMENT_NAMES", "all")
    assert terminal("refresh", "some").code == 0
    assert set(proxy.asked()) - set(asked) == OTHERS
