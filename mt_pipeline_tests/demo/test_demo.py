"""`mt-pipeline demo`: the same two captures each time, loaded, and what they have to tell."""

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from mt_pipeline.api.session import Session
from mt_pipeline.demo import files, household
from mt_pipeline.demo.messages import QUIC_CONNECTION, QUIC_HELLO, QUIC_NAME
from mt_pipeline.pipeline.session import session
from mt_pipeline_tests.building.hellos import quic_initials
from mt_pipeline_tests.pipelines import Lab, Result, ended, program

BEFORE, AFTER = "demo_before", "demo_after"
NAMES = {device.address: name for name, device in household.DEVICES.items()}
CLOUD = household.SERVICES["oss-ap-southeast-1.aliyuncs.com"]

LOADED = """\
demo_before/household.pcap: 2,699 packets, 2,699 rows in packets_demo_before
demo_after/household.pcap: 3,616 packets, 3,616 rows in packets_demo_after
"""


@pytest.fixture(scope="module")
def first(lab: Lab) -> Result:
    """Load the demo."""
    return _demo(lab)


@pytest.fixture(scope="module")
def asked(lab: Lab, first: Result) -> Session:
    assert first.code == 0, first.err
    return session(lab.workspace(enrichment="offline"))


def _demo(lab: Lab) -> Result:
    return ended(program("demo", settings=lab.settings(enrichment="offline")))


def _tshark(path: Path, *arguments: str) -> list[str]:
    command = ["tshark", "-n", "-r", str(path), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_the_captures_are_the_same_each_time_and_stay_as_they_are(tmp_path: Path):
    written = [files.write(tmp_path / name) for name in ("a", "b")]
    captures = [[folder / "household.pcap" for folder in folders] for folders in written]
    times = [path.stat().st_mtime_ns for path in captures[0]]

    assert [path.read_bytes() for path in captures[0]] == [
        path.read_bytes() for path in captures[1]
    ]
    assert files.write(tmp_path / "a") == written[0]
    assert [path.stat().st_mtime_ns for path in captures[0]] == times


def test_a_file_of_the_user_is_named_and_nothing_is_written(tmp_path: Path):
    path = tmp_path / AFTER / "household.pcap"
    path.parent.mkdir()
    path.write_bytes(b"mine")

    with pytest.raises(files.InTheWayError, match="is there and is not the demo's: move it away"):
        files.write(tmp_path)

    assert path.read_bytes() == b"mine"
    assert list(tmp_path.rglob("*.*")) == [path]


def test_the_hello_of_quic_is_the_one_that_aioquic_encrypts():
    assert quic_initials(QUIC_NAME, connection_id=QUIC_CONNECTION, fill=0) == [QUIC_HELLO]


@pytest.mark.parametrize("name", files.EXPERIMENTS)
def test_tshark_finds_every_protocol_and_no_fault(tmp_path: Path, name: str):
    files.write(tmp_path)
    path = tmp_path / name / "household.pcap"
    wrong = (
        "_ws.malformed or ip.checksum.status == 0 or udp.checksum.status == 0"
        " or tcp.checksum.status == 0 or tcp.analysis.flags"
    )
    checks = [f"-o{layer}.check_checksum:TRUE" for layer in ("ip", "udp", "tcp")]

    protocols = {
        each for line in _tshark(path, "-Tfields", "-eframe.protocols") for each in line.split(":")
    }

    assert {"arp", "dhcp", "dns", "http", "mdns", "ntp", "quic", "tls"} <= protocols
    assert _tshark(path, *checks, "-Y", wrong) == []
    seconds = [float(line) for line in _tshark(path, "-Tfields", "-eframe.time_relative")]
    assert seconds == sorted(seconds)
    assert 500 < seconds[-1] < household.LASTS_SECONDS


def test_the_command_loads_it_and_does_so_once(lab: Lab, first: Result):
    assert first.code == 0, first.err
    assert first.out.startswith(LOADED)
    again = _demo(lab)
    assert (again.code, again.out.splitlines()[0]) == (0, "2 of 2 captures are in already")


@pytest.mark.parametrize(
    ("experiment", "countries"),
    [
        (
            BEFORE,
            {
                "phone": {"Ireland", "Japan", "South Korea", "United Kingdom", "United States"},
                "speaker": {"Germany", "United States"},
                "camera": {"China", "United States"},
            },
        ),
        (
            AFTER,
            {
                "phone": {"Germany", "Ireland", "Japan", "United Kingdom", "United States"},
                "speaker": {"Germany", "United States"},
                "camera": {"China", "Singapore"},
            },
        ),
    ],
)
def test_the_phone_talks_to_most_countries(
    asked: Session, experiment: str, countries: dict[str, set[str]]
):
    found = defaultdict[str, set[str]](set)
    for flow in (
        asked.flows(experiment, where="direction = outside", columns=["local", "geo_country"])
        .arrow()
        .to_pylist()
    ):
        found[NAMES[flow["local"]]].add(flow["geo_country"])

    assert found == countries


def test_something_is_new_and_something_is_gone(asked: Session):
    compared = asked.compare(BEFORE, AFTER)
    changes = {
        dimension: {
            change: {line.value for line in compared.dimensions[dimension] if line.change == change}
            for change in ("new", "gone")
        }
        for dimension in ("application", "country", "remote name", "tracker")
    }

    assert changes == {
        "application": {
            "new": {"adjust"},  # one of Alibaba's clocks was asked before, too
            "gone": {"amazon-aws", "kakaotalk"},
        },
        "country": {"new": {"Singapore"}, "gone": {"South Korea"}},
        "remote name": {
            "new": {"app.adjust.com", "oss-ap-southeast-1.aliyuncs.com"},
            "gone": {"checkip.amazonaws.com", "katalk.kakao.com", "s3.eu-west-1.amazonaws.com"},
        },
        "tracker": {"new": {"attribution"}, "gone": set()},
    }


def test_the_largest_upload_is_the_camera_s_and_opens_in_tshark(asked: Session, tmp_path: Path):
    sent = defaultdict[tuple[str, str, int], int](int)
    for flow in (
        asked.flows(AFTER, columns=["local", "remote", "conversation", "bytes_out"])
        .arrow()
        .to_pylist()
    ):
        sent[flow["local"], flow["remote"], flow["conversation"]] += flow["bytes_out"]
    largest, second = sorted(sent, key=sent.__getitem__, reverse=True)[:2]

    asked.cut(AFTER, tmp_path / "upload.pcapng", where=f"ip_src = {CLOUD} or ip_dst = {CLOUD}")

    assert (NAMES[largest[0]], largest[1]) == ("camera", CLOUD)
    assert sent[largest] > 20 * sent[second]
    lengths = _tshark(
        tmp_path / "upload.pcapng",
        "-Y",
        f"ip.src == {largest[0]}",
        *("-Tfields", "-eframe.len"),
    )
    assert sum(map(int, lengths)) == sent[largest]


def test_purge_removes_the_rows_and_the_demo_brings_them_back(lab: Lab, asked: Session):
    purged = ended(program("purge", "--name", BEFORE, "--yes", settings=lab.settings()))
    assert purged.code == 0, purged.err
    assert asked.experiments().arrow()["experiment"].to_pylist() == [AFTER]

    again = _demo(lab)

    assert again.code == 0, again.err
    assert "1 of 2 captures are in already" in again.out
    assert asked.flows(BEFORE).arrow().num_rows > 0
