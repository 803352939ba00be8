"""tshark, which parses what strangers send, sees its capture and the system's programs alone."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.tshark import sandbox
from mt_pipeline.tshark.programs import environment
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.tshark.parts import output_of, tshark

MANUF = Path("/usr/share/wireshark/manuf")
needs_sandbox = pytest.mark.skipif(
    not tshark().is_confined, reason="there is no bubblewrap, or it is not permitted here"
)


def sees(script: str, *visible: Path) -> str:
    """Run a script of the shell where tshark runs."""
    command = sandbox.confined(["/bin/sh", "-c", script], *visible)
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True
    ).stdout


@needs_sandbox
def test_only_the_capture_is_visible_and_nothing_can_be_written(tmp_path: Path):
    capture, other = tmp_path / "a.pcap", tmp_path / "secret"
    for path in (capture, other):
        path.write_text("packets")
    found = sees(
        f"ls -A {tmp_path}; cat {capture}; echo; cat {other} /etc/passwd /etc/shadow 2>&1; "
        f"echo x 2>&1 >> {capture}; ls /root /home 2>&1; exit 0",
        capture,
    )
    assert found.startswith("a.pcap\npackets\n")
    assert found.count("No such file or directory") >= 3
    assert capture.read_text() == "packets"


@needs_sandbox
def test_there_is_no_network_no_other_process_and_no_privilege():
    interfaces = [
        line.split(":")[0].strip() for line in sees("cat /proc/net/dev").splitlines() if ":" in line
    ]
    assert interfaces == ["lo"]  # its own, where nobody listens
    assert len([name for name in sees("ls /proc").split() if name.isdigit()]) <= 4
    status = dict(
        line.split(":\t") for line in sees("cat /proc/self/status").splitlines() if ":\t" in line
    )
    assert (status["NoNewPrivs"], int(status["CapPrm"], 16), int(status["CapEff"], 16)) == (
        "1",
        0,
        0,
    )


@needs_sandbox
def test_a_capture_that_only_another_user_may_read_is_read_all_the_same(tmp_path: Path):
    capture = everything(tmp_path / "x.pcapng")
    expected = output_of(capture)
    if os.geteuid() == 0:
        os.chown(capture, 65534, 65534)
    capture.chmod(0o600)
    assert output_of(capture) == expected


@needs_sandbox
@pytest.mark.parametrize("way", ["forked", "started"])
def test_a_confined_tshark_says_the_same_byte_for_byte(tmp_path: Path, way: str):
    capture = everything(tmp_path / "every thing.pcapng")
    plain = subprocess.run(
        tshark().command(capture, ""), env=environment(), capture_output=True, check=True
    ).stdout
    program = tshark() if way == "forked" else replace(tshark(), fork_seconds=0)
    assert b"".join(output_of(capture, program=program)) == plain
    assert len(plain) > 10_000


@needs_sandbox
@pytest.mark.skipif(not MANUF.exists(), reason="this tshark has the list in its program")
def test_lists_of_names_are_empty_unless_a_filter_may_ask_for_them():
    size = f"wc -c < {MANUF}"
    assert int(sees(size)) == 0
    command = sandbox.confined(["/bin/sh", "-c", size, "-Y", "tcp"])
    assert int(subprocess.check_output(command, env=environment())) == MANUF.stat().st_size


@needs_sandbox
@pytest.mark.parametrize("way", ["forked", "started"])
def test_a_filter_by_the_name_of_a_vendor_finds_its_packets(tmp_path: Path, way: str):
    cisco = bytes.fromhex("00000c000001")
    frames = [frame[:6] + cisco + frame[12:] for frame in traffic.dns()]
    capture = write_pcap(tmp_path / "x.pcap", timed([*frames, *traffic.dns()]))
    program = tshark() if way == "forked" else replace(tshark(), fork_seconds=0)
    shown = 'eth.src.oui_resolved contains "Cisco"'
    assert len(output_of(capture, shown, program=program)) == len(frames)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("#!/bin/sh\n"),
        lambda path: path.symlink_to("/nowhere"),
        lambda path: path.mkdir(),
    ],
)
def test_a_program_of_the_user_is_not_confined(tmp_path: Path, make: Callable[[Path], object]):
    make(tmp_path / "tshark")
    assert not sandbox.confines(str(tmp_path / "tshark"))


def test_without_bubblewrap_nothing_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tshark().program
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not sandbox.confines(program)
