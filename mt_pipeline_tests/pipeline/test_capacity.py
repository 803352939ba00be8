"""A capture that needs too much is refused before it begins, and loaded when there is room."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.capacity import NoRoomError, TooLargeError
from mt_pipeline.settings import Settings
from mt_pipeline.tshark.packet_count import Estimate
from mt_pipeline_tests import disks
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.files import Frame, compress, write_pcap
from mt_pipeline_tests.pipelines import (
    PASSWORD,
    Result,
    capture,
    ended,
    environment,
    files_below,
    program,
    settings_of,
    wrapper,
)
from mt_pipeline_tests.services import free_ports

KEY = "room/bulk.pcap"
PACKETS = 60_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 8 MB."""
    with disks.disk(tmp_path / "disk", "size=8m") as small:
        yield small


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_without_room_a_capture_fails_before_it_is_begun_and_is_taken_up_when_there_is_some(
    small_disk: Path, tmp_path: Path
):
    settings = Settings(
        _env_file=None, data_dir=small_disk / "data", enrichment="none", backends="parquet"
    )
    path = write_bulk(tmp_path / "bulk.pcap", PACKETS)

    def told(*arguments: str | Path) -> tuple[int, str, str]:
        result = ended(
            program(*arguments, settings=settings, env=environment(settings, MT_BACKENDS="parquet"))
        )
        return result.code, result.out, result.err

    code, out, err = told("ingest", path, capture(tmp_path / "small.pcap"), "--name", "room")

    assert (code, out) == (
        1,
        "room/small.pcap: 2 packets, 2 rows in parquet/packets/experiment=room\n",
    )
    assert err.startswith(
        f"failed: {KEY}: its 60,000 packets need about 10 MB of disk and 2 MB must be left, but "
    )
    assert (
        f"MB are free in {settings.data_dir}: make room, for example by `mt-pipeline purge` and "
        in err
    )
    record = Ledger(settings.data_dir / "ledger.sqlite").get(KEY)
    assert record is not None
    assert record.state is State.FAILED
    assert [file for file in files_below(settings.data_dir / "tshark_json") if "bulk" in file] == []
    subprocess.run(["/bin/mount", "-o", "remount,size=64m", small_disk], check=True)
    assert told("ingest", "--failed") == (
        0,
        f"{KEY}: 60,000 packets, 60,000 rows in parquet/packets/experiment=room\n",
        "",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_a_few_bytes_that_become_many_are_refused_before_they_fill_the_disk(
    small_disk: Path, tmp_path: Path
):
    """46 KB once filled a disk: of compressed captures nobody counted the packets."""
    plain = write_pcap(tmp_path / "bomb.pcap", [Frame(b"", 0, wire_length=0)] * 60_000)
    bomb = compress(plain, "gzip")
    assert bomb.stat().st_size < 50_000
    found = settings(small_disk / "data")

    result = ended(
        program("ingest", bomb, settings=found, env=environment(found, MT_BACKENDS="parquet"))
    )

    assert result.code == 1
    assert result.err.startswith(
        "failed: bomb/bomb.pcap.gz: its 60,000 packets need about 10 MB of disk "
        "and 2 MB must be left, but "
    )
    assert files_below(found.data_dir / "tshark_json") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_a_capture_that_turns_out_too_large_stops_in_time_and_leaves_nothing(
    small_disk: Path, tmp_path: Path
):
    """Others fill the disk as well: here it is full as soon as tshark begins."""
    found = settings(small_disk / "data")
    fills = wrapper(
        tmp_path / "tshark", f'head -c 5500000 /dev/zero > {small_disk}/filler; exec "$TSHARK" "$@"'
    )
    path = write_bulk(tmp_path / "bulk.pcap", 15_000)

    result = ended(
        program(
            "ingest",
            path,
            settings=found,
            env=environment(found, MT_BACKENDS="parquet", MT_TSHARK=str(fills)),
        )
    )

    assert result.code == 1
    assert re.match(
        r"failed: bulk/bulk\.pcap: stopped after [\d,]+ packets: to load them \d+ MB of disk "
        r"are needed and 2 MB must be left",
        result.err,
    )
    assert (
        files_below(found.data_dir / "tshark_json")
        == files_below(found.data_dir / "endpoints")
        == []
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_what_loads_leave_free_is_enough_to_make_room(tmp_path: Path):
    with disks.disk(tmp_path / "disk", "size=450m") as small:
        http, pg = free_ports(2)
        found = settings_of(
            small / "data", Database("", http, pg, "admin", PASSWORD), questdb_host=None
        )

        def told(*arguments: str | Path) -> Result:
            return ended(program(*arguments, settings=found))

        assert told("ingest", capture(tmp_path / "a.pcap"), "--name", "room").code == 0
        with (small / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(small).free - 130 * 10**6)
        refused = told("ingest", capture(tmp_path / "b.pcap"), "--name", "room")
        assert "failed: room/b.pcap: " in refused.err
        assert "200 MB must be left" in refused.err
        purged = told("purge", "--name", "room", "--yes")
        assert (purged.code, purged.err) == (0, "")
        assert told("compact").code == 0


@pytest.fixture
def large(tmp_path: Path) -> Capture:
    """Give a capture that says it is so large that it must be looked at."""
    capture(tmp_path / "x" / "large.pcap")
    return replace(capture_at(tmp_path, "x/large.pcap"), size=10**13)


def settings(data: Path, **others: object) -> Settings:
    return Settings(_env_file=None, data_dir=data, backends="parquet", enrichment="none", **others)


def memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_of_a_capture_that_may_fill_the_memory_the_log_warns(
    tmp_path: Path, large: Capture, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        capacity.check_memory(
            settings(tmp_path).options(), large, lambda: Estimate(memory() // 600, exact=True)
        )

    assert "x/large.pcap: tshark may need" in caplog.text


def test_a_capture_far_beyond_the_memory_is_refused_with_a_cure(tmp_path: Path, large: Capture):
    with pytest.raises(
        TooLargeError,
        match=r"^x/large\.pcap: for its .* packets tshark needs about .* of memory, .*editcap -c",
    ):
        capacity.check_memory(
            settings(tmp_path).options(), large, lambda: Estimate(3 * memory() // 600, exact=True)
        )


def test_a_number_that_rests_on_the_size_alone_is_said_to(tmp_path: Path, large: Capture):
    """Three packets and 20 GB of zeros were once called 107,374,182 packets."""
    options = settings(tmp_path).options()
    words = r"packets \(by its size: they could not be counted, so see whether it is damaged\) "
    with pytest.raises(TooLargeError, match=words):
        capacity.check_memory(options, large, lambda: None)
    with pytest.raises(NoRoomError, match=words):
        capacity.check(options, large, lambda: None)


def test_a_capture_that_is_copied_first_needs_room_for_the_copy_too(tmp_path: Path):
    """The copy was once made before anyone looked whether there was room for it."""
    settings = Settings(_env_file=None, data_dir=tmp_path, backends="parquet")
    capture(tmp_path / "x" / "grows.pcap")
    growing = replace(capture_at(tmp_path, "x/grows.pcap"), size=shutil.disk_usage(tmp_path).total)

    capacity.check(settings.options(), growing, lambda: Estimate(2, exact=True))
    with pytest.raises(
        NoRoomError, match=r"^x/grows\.pcap: its 2 packets .* of disk besides a copy of it, "
    ):
        capacity.check(settings.options(), growing, lambda: Estimate(2, exact=True), copied=True)


def test_of_a_capture_that_is_small_beside_what_is_free_nobody_counts_the_packets(tmp_path: Path):
    path = capture(tmp_path / "x" / "small.pcap")
    asked = []

    capacity.check(
        Settings(_env_file=None, data_dir=tmp_path).options(),
        capture_at(tmp_path, "x/small.pcap"),
        lambda: asked.append(path),
    )

    assert asked == []
