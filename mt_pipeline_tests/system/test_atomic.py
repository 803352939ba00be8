"""Files that appear whole, and never in place of one that somebody else made meanwhile."""

from pathlib import Path

import pytest

from mt_pipeline.system.atomic import whole
from mt_pipeline_tests.pipelines import files_below


def test_a_file_appears_when_it_is_whole_and_replaces_an_earlier_one(tmp_path: Path):
    output = tmp_path / "answers"
    output.write_text("earlier")
    with whole(output) as partial:
        partial.write_text("complete")
        assert output.read_text() == "earlier"

    assert output.read_text() == "complete"
    assert files_below(tmp_path) == ["answers"]


def test_a_new_file_never_takes_the_place_of_one_that_came_meanwhile(tmp_path: Path):
    """Regression: a file that appeared during a long export was lost at its end."""
    output = tmp_path / "answers"

    def export() -> None:
        with whole(output, new=True) as partial:
            partial.write_text("ours")
            output.write_text("theirs")

    with pytest.raises(FileExistsError):
        export()
    assert output.read_text() == "theirs"
    assert files_below(tmp_path) == ["answers"]
    with whole(tmp_path / "another", new=True) as partial:
        partial.write_text("ours")
    assert (tmp_path / "another").read_text() == "ours"


def test_processes_with_one_id_on_two_machines_write_to_files_of_their_own(tmp_path: Path):
    """Regression: on two machines that shared a folder, both wrote to `.answers.7.part`."""
    output = tmp_path / "answers"
    with whole(output) as first, whole(output) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")

    assert output.read_text() == "first"
    assert files_below(tmp_path) == ["answers"]
