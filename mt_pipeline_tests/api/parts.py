"""An experiment in both back ends, and the sessions that ask them."""

from collections.abc import Sequence
from pathlib import Path

from mt_pipeline.api.session import Session
from mt_pipeline.pipeline.session import session
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import arp, dns, tls_session
from mt_pipeline_tests.pipelines import Lab

BOTH = ("questdb", "parquet")

HOSTILE = (
    "<script>alert(1)</script>.example.com",
    "'; DROP TABLE captured_packets; --",
    '"quoted".example.com',
    "(none)",
    "(others)",
    "__proto__",
    "constructor",
    '=HYPERLINK("http://evil")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "null",
    "[x",
    "{x}",
    "a'b''c",
    "100%_done",
    "$(id)",
    "x" * 255,
    "a b\tc",
)
"""Server names that somebody could send."""


def hostile(path: Path) -> Path:
    """Write a capture with a TLS session for each hostile name."""
    frames = [
        frame
        for index, name in enumerate(HOSTILE)
        for frame in tls_session(name, client_port=41_000 + index)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_pcap(path, timed(frames))


def load_both(lab: Lab, experiment: str) -> Sequence[str]:
    """Load captures of many kinds into both back ends; some share their times."""
    keys = [
        f"{experiment}/{name}"
        for name in ("all.pcapng", "odd.pcap", "same.pcap", "x 'y\" (none)/=ü <b>.pcap")
    ]
    for key in keys:
        (lab.inbox / key).parent.mkdir(parents=True, exist_ok=True)
    everything(lab.inbox / keys[0])
    hostile(lab.inbox / keys[1])
    frames = [*dns("same.example.com"), *arp(), *tls_session("same.example.com")]
    write_pcap(lab.inbox / keys[2], timed(frames, step_ns=0))
    write_pcap(lab.inbox / keys[3], timed(frames, step_ns=86_400 * 10**9))
    ran = lab.run(*keys, workspace=lab.workspace(backends=BOTH, enrichment="offline"))
    assert ran.success
    return keys


def sessions(lab: Lab) -> dict[str, Session]:
    """Open the data folder once for each back end."""
    return {name: session(lab.workspace(backends=(name,), enrichment="offline")) for name in BOTH}
