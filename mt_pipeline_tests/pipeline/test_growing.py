"""Captures that grow while they are taken, and those that dumpcap rotates."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures.growing import is_due, snapshot
from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.records import State
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.pipelines import Lab, wrapper

PACKETS = 2_000
DUMPCAP = shutil.which("dumpcap") or "dumpcap"


@pytest.mark.parametrize(
    ("size", "taken", "due"),
    [(1, 0, True), (110, 100, False), (111, 100, True), (100, 100, False), (5, 0, True)],
)
def test_a_growing_capture_is_taken_again_when_there_is_a_tenth_more(
    size: int, taken: int, due: bool
):
    assert is_due(size, taken) is due


def looked(lab: Lab, workspace: Workspace) -> list[str]:
    result = tick(dg.build_sensor_context(instance=lab.instance), workspace)
    return (
        [request.partition_key for request in result.run_requests]
        if isinstance(result, dg.SensorResult)
        else []
    )


def copies(lab: Lab) -> list[Path]:
    """List the copies of growing captures that are there."""
    return [folder for folder in lab.data.rglob(".follow-*") if folder.is_dir()]


def test_the_copy_of_a_take_that_was_killed_goes_with_the_next_one(lab: Lab):
    """Copies of takes that were killed once lay in the data folder for ever."""
    key = "killed take/a.pcap"
    path, folder = lab.put(key), CaptureFiles(lab.data, key).workplace
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mt_pipeline.captures.growing import snapshot\n"
        "from mt_pipeline.captures.identity import capture_at\n"
        "with snapshot(capture_at(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[3])):\n"
        "    os.kill(os.getpid(), 9)"
    )

    def killed() -> None:
        assert (
            subprocess.run(
                [sys.executable, "-c", script, lab.inbox, key, folder], check=False
            ).returncode
            == -9
        )
        assert len(copies(lab)) == 1

    killed()
    with snapshot(capture_at(lab.inbox, key), folder) as copy:
        assert copy.path.read_bytes() == path.read_bytes()
        assert len(copies(lab)) == 1
    killed()
    assert lab.run(key).success
    assert copies(lab) == []


def test_what_tshark_says_of_a_growing_capture_names_it_and_not_its_copy(lab: Lab):
    path = lab.put("named/grows.pcapng", GARBAGE)

    ran = lab.run("named/grows.pcapng", workspace=lab.workspace(follow=True, settle_seconds=60))

    assert str(path) in ran.failure
    assert ".follow-" not in ran.failure + str(ran.failure_metadata)


def test_a_capture_that_grows_is_rows_as_it_comes_and_in_the_end_the_same_as_in_one_go(
    lab: Lab, tmp_path: Path
):
    whole = write_bulk(tmp_path / "whole.pcap", PACKETS).read_bytes()
    growing = lab.inbox / "follow" / "growing.pcap"
    growing.parent.mkdir()
    # It grows even while tshark reads it: by bytes that are no whole packet.
    writes_on = wrapper(
        tmp_path / "tshark",
        f'head -c {len(whole) // 100} /dev/zero >>"{growing}"\nexec "$TSHARK" "$@"',
    )
    follow = lab.workspace(follow=True, settle_seconds=60, tshark=str(writes_on))
    key, seen = "follow/growing.pcap", []
    for part in (0.2, 0.5, 0.9):
        growing.write_bytes(whole[: int(len(whole) * part)])
        assert key in looked(lab, follow)
        assert lab.run(key, workspace=follow).success
        seen.append(len(lab.rows("follow", key=key)))
        assert key not in looked(lab, follow), "a hundredth more is not enough"
    growing.write_bytes(whole)
    time.sleep(0.2)
    quiet = lab.workspace(follow=True, settle_seconds=0.1)
    looked(lab, quiet)
    assert lab.run(key, workspace=quiet).success
    (lab.inbox / "follow" / "once.pcap").write_bytes(whole)
    assert lab.run("follow/once.pcap").success

    assert 0 < seen[0] < seen[1] < seen[2] < PACKETS
    names = [column.name for column in COLUMNS if column.name != "capture"]
    assert lab.rows("follow", names, key=key) == lab.rows("follow", names, key="follow/once.pcap")
    assert len(lab.rows("follow", key=key)) == PACKETS
    assert lab.record(key).state is State.DONE
    assert copies(lab) == []


def test_files_that_dumpcap_rotates_are_loaded_once_complete_and_keep_rows_when_it_deletes_them(
    lab: Lab, tmp_path: Path
):
    whole = write_bulk(tmp_path / "whole.pcap", PACKETS)
    folder = lab.inbox / "ring"
    folder.mkdir()
    workspace = lab.workspace(settle_seconds=0.5)
    command = [
        DUMPCAP,
        "-q",
        "-i",
        "-",
        "-b",
        "filesize:200",
        "-b",
        "files:4",
        "-w",
        folder / "ring.pcapng",
    ]
    with (
        whole.open("rb") as packets,
        subprocess.Popen(command, stdin=packets, stderr=subprocess.DEVNULL) as dumpcap,
    ):
        requested = looked(
            lab, workspace
        )  # files of this look may be deleted again before the next
        dumpcap.wait()
    requested += looked(lab, workspace)
    files = sorted(f"ring/{file.name}" for file in folder.iterdir())
    assert [key for key in files if key in requested] == files[:-1], (
        "the last one may still be open"
    )
    time.sleep(0.6)
    requested += looked(lab, workspace)

    assert [key for key in files if key in requested] == files
    assert lab.run(*files).success
    rows = lab.rows("ring", ("capture", "frame_number"))
    for file in folder.iterdir():
        file.unlink()
    looked(lab, workspace)

    assert 1 < len(files) <= 4
    assert {key for key, _ in rows} == set(files)
    assert lab.rows("ring", ("capture", "frame_number")) == rows
    assert {lab.record(key).state for key in files} == {State.DONE}
