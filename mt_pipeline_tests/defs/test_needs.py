"""What a capture will need: refused before anything is begun, and taken up again when there is room."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State
from mt_pipeline.defs import needs
from mt_pipeline.defs.needs import NoRoomError, TooLargeError
from mt_pipeline.settings import Settings
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.pipelines import capture, ended, environment, files_below, program

KEY = "room/bulk.pcap"
PACKETS = 60_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["/bin/umount", "--lazy", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_without_room_a_capture_fails_before_it_is_begun_and_is_taken_up_when_there_is_some(small_disk: Path, tmp_path: Path):
    settings = Settings(_env_file=None, data_dir=small_disk / "data", enrichment="none", backends="parquet")
    path = write_bulk(tmp_path / "bulk.pcap", PACKETS)

    def told(*arguments: str | Path) -> tuple[int, str, str]:
        said = ended(program(*arguments, settings=settings, env=environment(settings, MT_BACKENDS="parquet")))
        return said.code, said.out, said.err

    code, out, err = told("ingest", path, capture(tmp_path / "small.pcap"), "--name", "room")

    assert (code, out) == (1, "room/small.pcap: 2 packets, 2 rows in parquet/packets/experiment=room\n")
    assert err.startswith(f"failed: {KEY}: its 60,000 packets need about 10 MB of disk, and ")
    assert f"MB are free in {settings.data_dir}: free some, or set MT_DATA_DIR to a larger disk" in err
    record = Ledger(settings.data_dir / "ledger.sqlite").get(KEY)
    assert record is not None
    assert record.state is State.FAILED
    assert [file for file in files_below(settings.data_dir / "tshark_json") if "bulk" in file] == []
    subprocess.run(["/bin/mount", "-o", "remount,size=64m", small_disk], check=True)
    assert told("ingest", "--failed") == (0, f"{KEY}: 60,000 packets, 60,000 rows in parquet/packets/experiment=room\n", "")


@pytest.fixture
def large(tmp_path: Path) -> Capture:
    """Give a capture that says it is so large that it must be looked at."""
    capture(tmp_path / "x" / "large.pcap")
    return replace(capture_at(tmp_path, "x/large.pcap"), size=10**13)


def memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def without_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Make settings of a machine whose disk has room for anything."""
    monkeypatch.setattr(needs, "_MARGIN", 0)
    return Settings(_env_file=None, data_dir=tmp_path, backends="parquet")


def test_of_a_capture_that_may_fill_the_memory_the_log_warns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, large: Capture, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        needs.check(without_disk(monkeypatch, tmp_path), large, lambda: memory() // 600)

    assert "x/large.pcap: tshark may need" in caplog.text


def test_a_capture_far_beyond_the_memory_is_refused_with_a_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, large: Capture):
    with pytest.raises(TooLargeError, match=r"^x/large\.pcap: for its .* packets tshark needs about .* of memory, .*editcap -c"):
        needs.check(without_disk(monkeypatch, tmp_path), large, lambda: 3 * memory() // 600)


def test_a_capture_that_is_copied_first_needs_room_for_the_copy_too(tmp_path: Path):
    """The copy was once made before anyone looked whether there was room for it."""
    settings = Settings(_env_file=None, data_dir=tmp_path, backends="parquet")
    capture(tmp_path / "x" / "grows.pcap")
    growing = replace(capture_at(tmp_path, "x/grows.pcap"), size=shutil.disk_usage(tmp_path).total)

    needs.check(settings, growing, lambda: 2)
    with pytest.raises(NoRoomError, match=r"^x/grows\.pcap: its 2 packets .* and 0 MB are free"):
        needs.check(settings, growing, lambda: 2, copied=True)


def test_of_a_capture_that_is_small_beside_what_is_free_nobody_counts_the_packets(tmp_path: Path):
    path = capture(tmp_path / "x" / "small.pcap")
    asked = []

    needs.check(Settings(_env_file=None, data_dir=tmp_path), capture_at(tmp_path, "x/small.pcap"), lambda: asked.append(path))

    assert asked == []
