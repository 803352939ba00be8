"""Where the files of a capture lie, which of them are kept, and which are deleted."""

from pathlib import Path

import pytest

from mt_pipeline.captures.naming import file_name_of
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline_tests.pipelines import files_below

KEY = "Living Room/deep/a b.pcap"


def made(files: CaptureFiles, inputs: str) -> list[Path]:
    """Make all files of some inputs, ten bytes each."""
    paths = [
        files.documents(inputs),
        files.endpoints(inputs),
        files.packets(inputs),
        files.names(inputs),
        files.enrichment(inputs),
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789")
    return paths


def test_what_was_taken_up_of_the_file_before_names_all_that_is_made_of_the_names(tmp_path: Path):
    files, going_on = CaptureFiles(tmp_path, KEY), CaptureFiles(tmp_path, KEY, "0ab")

    assert (going_on.documents("1f"), going_on.packets("1f")) == (
        files.documents("1f"),
        files.packets("1f"),
    )
    for what in ("names", "left", "endpoints", "enrichment"):
        assert getattr(going_on, what)("1f").name.startswith("1f-0ab")
        assert getattr(files, what)("1f") != getattr(going_on, what)("1f")


def test_files_lie_by_stage_experiment_and_capture(tmp_path: Path):
    files, own = CaptureFiles(tmp_path, KEY), file_name_of(KEY)

    assert [str(path.relative_to(tmp_path)) for path in made(files, "1f")] == [
        f"tshark_json/living_room/{own}/1f.ndjson.zst",
        f"endpoints/living_room/{own}/1f-{CODE_VERSIONS['endpoints']}.endpoints.parquet",
        f"endpoints/living_room/{own}/1f-{CODE_VERSIONS['endpoints']}.packets.parquet",
        f"endpoints/living_room/{own}/1f-{CODE_VERSIONS['endpoints']}.names.parquet",
        f"enrichment/living_room/{own}/1f.parquet",
    ]


@pytest.mark.parametrize(
    "other",
    ["living_room/deep/a b.pcap", "Living Room/a b.pcap", "Living Room/deep/a_b.pcap", "a b.pcap"],
)
def test_no_two_captures_share_a_file(tmp_path: Path, other: str):
    assert CaptureFiles(tmp_path, KEY).documents("1f") != CaptureFiles(tmp_path, other).documents(
        "1f"
    )


@pytest.mark.parametrize(
    "key", ["x" * 900, "ä" * 120 + ".pcap", "-rf", "a/.../b", "a/\n", "a/.hidden"]
)
def test_no_name_is_too_long_or_too_odd_for_a_disk(tmp_path: Path, key: str):
    [path, *_] = made(CaptureFiles(tmp_path, key), "1f")

    assert path.is_file()
    assert all(
        part.isascii() and part.isprintable() and not part.startswith((".", "-"))
        for part in path.relative_to(tmp_path).parts
    )


def test_after_a_load_only_its_own_files_are_kept(tmp_path: Path):
    files, other = CaptureFiles(tmp_path, KEY), CaptureFiles(tmp_path, "other/b.pcap")
    made(files, "0ld")
    kept = made(files, "new")
    of_others = made(other, "0ld")
    (kept[1].parent / "new-000000000000.packets.parquet").write_bytes(b"of another column table")
    (kept[0].parent / ".new.ndjson.zst.4711.part").write_bytes(b"half")
    (kept[1].parent / "left over").mkdir()

    files.keep_only("new")

    assert files_below(tmp_path) == sorted(
        str(path.relative_to(tmp_path)) for path in [*kept, *of_others]
    )
    assert not (kept[1].parent / "left over").exists()


def test_size_and_deletion_are_of_one_capture_alone(tmp_path: Path):
    files, other = CaptureFiles(tmp_path, KEY), CaptureFiles(tmp_path, "Living Room/b.pcap")
    made(files, "1f")
    of_others = made(other, "1f")

    assert files.size() == 50
    assert files.delete() == 50
    assert files.size() == files.delete() == 0
    assert files_below(tmp_path) == sorted(str(path.relative_to(tmp_path)) for path in of_others)


def test_the_folder_of_an_experiment_goes_with_its_last_capture(tmp_path: Path):
    files = CaptureFiles(tmp_path, KEY)
    made(files, "1f")

    files.delete()

    assert list((tmp_path / "tshark_json").iterdir()) == []


def test_without_any_file_nothing_happens(tmp_path: Path):
    files = CaptureFiles(tmp_path / "not there", KEY)

    files.keep_only("1f")

    assert (files.size(), files.delete()) == (0, 0)
