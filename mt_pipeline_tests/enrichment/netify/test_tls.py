"""Who is given the key: a server that proves who it is, and nobody else."""

from pathlib import Path

import pytest

from mt_pipeline.enrichment.netify.client import Netify
from mt_pipeline.enrichment.provider import ProviderStopped
from mt_pipeline_tests.enrichment.parts import GOOGLE, KEY, QUICK
from mt_pipeline_tests.enrichment.tls_server import Authority, tls_server


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Make an authority, which this process trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.file))
    return made


def of(port: int, folder: Path) -> Netify:
    return Netify(
        url=f"https://localhost:{port}/api/v2",
        key=KEY,
        calls_per_second=1000,
        rate_file=folder / "rate.sqlite",
        retry=QUICK,
    )


def test_a_server_that_proves_who_it_is_is_given_the_key(tmp_path, authority):
    with (
        tls_server(authority.certificate("localhost")) as server,
        of(server.port, tmp_path) as provider,
    ):
        assert provider.ask(GOOGLE).found
        [headers] = server.requests
    assert headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("of another host", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("expired", "certificate has expired"),
        (
            "of an authority that nobody trusts",
            "unable to get local issuer certificate|self-signed certificate",
        ),
    ],
)
def test_a_server_that_does_not_stops_at_once_and_is_never_given_the_key(
    tmp_path, authority, monkeypatch, fault, reason
):
    certificate = authority.certificate(
        "other.example" if fault == "of another host" else "localhost", expired=fault == "expired"
    )
    if fault == "of an authority that nobody trusts":
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with tls_server(certificate) as server, of(server.port, tmp_path) as provider:
        with pytest.raises(
            ProviderStopped,
            match=rf"localhost does not prove who it is \(.*({reason}).*, "
            "so the key was not sent; check MT_NETIFY_URL",
        ):
            provider.ask(GOOGLE)
        assert (len(server.connections), server.requests) == (1, [])
