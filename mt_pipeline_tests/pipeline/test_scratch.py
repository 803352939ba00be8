"""What the stages write besides their files goes to a disk of the machine, if one is named."""

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.capacity import NoRoomError
from mt_pipeline.pipeline.failures import sentence
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline.system import duckdb_pool, scratch
from mt_pipeline_tests import disks
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.pipelines import Lab, files_below, wrapper

PACKETS = 2000


@pytest.fixture(autouse=True)
def _none_afterwards() -> Iterator[None]:
    yield
    scratch.use(None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 16 MB."""
    with disks.disk(tmp_path / "disk", "size=16m") as small:
        yield small


def test_a_growing_capture_is_copied_there_and_files_and_rows_are_the_same(
    lab: Lab, tmp_path: Path
):
    key, disk = "scratch/grows.pcap", tmp_path / "disk"
    disk.mkdir()
    (lab.inbox / key).parent.mkdir()
    write_bulk(lab.inbox / key, PACKETS)
    looks = wrapper(
        tmp_path / "tshark",
        f'find "{disk}" "{lab.data / "tshark_json"}" -name "grows*" -o -name ".follow-*" '
        f'>"{tmp_path}/found"\nexec "$TSHARK" "$@"',
    )
    assert lab.run(key).success
    files, rows = files_below(lab.data / "endpoints"), lab.rows("scratch", key=key)
    (lab.inbox / key).touch()

    follow = lab.workspace(follow=True, settle_seconds=600, tshark=str(looks), scratch_dir=disk)
    for file in (lab.data / "tshark_json" / "scratch").rglob("*.zst"):
        file.unlink()  # so that it is read again
    assert lab.run(key, workspace=follow).success

    found = [Path(line) for line in (tmp_path / "found").read_text().splitlines()]
    copies = [path for path in found if ".follow-" in str(path)]
    assert copies
    assert all(path.is_relative_to(disk) for path in copies)
    assert [file for file in files_below(disk) if not file.endswith(".lock")] == []
    assert files_below(lab.data / "endpoints") == files
    assert lab.rows("scratch", key=key) == rows


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_a_disk_that_is_too_small_or_full_is_named_with_the_cure(small_disk: Path, tmp_path: Path):
    options = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        scratch_dir=small_disk,
        backends="parquet",
        enrichment="none",
    ).options()
    path = options.inbox_dir / "small" / "a.pcap"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(20 * 10**6)
    Workspace(options)
    with pytest.raises(NoRoomError, match="MT_SCRATCH_DIR to a larger disk") as error:
        capacity.check(
            options, capture_at(options.inbox_dir, "small/a.pcap"), lambda: None, copied=True
        )
    assert f"are free in {small_disk}" in str(error.value)

    with (
        pytest.raises(duckdb.Error) as full,
        duckdb_pool.connection(options.data_dir / "file") as connection,
    ):
        connection.execute(
            "CREATE TEMP TABLE large AS SELECT md5(range::VARCHAR) FROM range(6_000_000)"
        )
    assert str(small_disk) in sentence(full.value, folder=options.data_dir)
    assert str(options.data_dir) not in sentence(full.value, folder=options.data_dir)
