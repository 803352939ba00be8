"""Temporary files on a disk of this machine: private, of each process alone, gone with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_pipeline.errors import SettingsError
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings, load
from mt_pipeline.system import duckdb_pool, scratch
from mt_pipeline_tests.pipelines import files_below

_WORKS = """
import sys, time
from pathlib import Path
from mt_pipeline.system import scratch
scratch.use(Path(sys.argv[1]))
(scratch.near(Path("beside")) / "spill").write_text("much")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _none_afterwards() -> Iterator[None]:
    yield
    scratch.use(None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Say where temporary files go."""
    return tmp_path / "scratch" / "mine"


def at_work(root: Path) -> "subprocess.Popen[str]":
    """Start a process that has written a temporary file, and ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WORKS, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: "subprocess.Popen[str]") -> int:
    process.communicate()
    return process.returncode


def spills(root: Path) -> list[str]:
    return [file for file in files_below(root) if not file.endswith(".lock")]


def test_by_default_temporary_files_lie_beside_what_they_are_for(tmp_path: Path):
    assert scratch.near(tmp_path) == tmp_path
    assert scratch.root() is None


def test_what_does_not_fit_into_memory_goes_there_and_nowhere_else(root: Path, tmp_path: Path):
    scratch.use(root)
    with duckdb_pool.connection(tmp_path / "data" / "file") as connection:
        connection.execute(
            "CREATE TEMP TABLE large AS SELECT range AS number, md5(range::VARCHAR) AS text "
            "FROM range(6_000_000)"
        )
        assert spills(root)
        assert files_below(tmp_path / "data") == []
    assert spills(root) == []
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_process_that_was_killed_leaves_its_files_until_the_next_comes_and_no_longer(root: Path):
    alive, killed = at_work(root), at_work(root)
    killed.send_signal(signal.SIGKILL)
    assert ended(killed) == -signal.SIGKILL
    assert len(spills(root)) == 2

    scratch.use(root)
    own = scratch.near(Path("beside"))

    assert len(spills(root)) == 1, "that of the process which lives is there"
    assert own.is_dir()
    assert ended(alive) == 0
    assert spills(root) == []


def test_a_child_that_is_forked_has_a_folder_of_its_own(root: Path):
    scratch.use(root)
    mine = scratch.near(Path("beside"))
    child = os.fork()
    if not child:
        theirs = scratch.near(Path("beside"))
        os._exit(0 if theirs != mine and theirs.is_dir() and mine.is_dir() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ended(at_work(root)) == 0
    assert mine.is_dir(), "it is locked after the child that knew it has ended"


def test_a_folder_that_somebody_took_away_is_made_again(root: Path):
    scratch.use(root)
    scratch.near(Path("beside")).rmdir()
    assert scratch.near(Path("beside")).is_dir()


def settings(data: Path, folder: Path) -> Settings:
    return Settings(
        _env_file=None, data_dir=data, scratch_dir=folder, backends="parquet", enrichment="none"
    )


def test_each_data_folder_and_each_machine_has_a_folder_of_its_own(tmp_path: Path):
    first, second = (
        settings(tmp_path / name, tmp_path).options().temporary for name in ("first", "second")
    )
    assert first != second
    assert first.parent == second.parent == tmp_path
    script = (
        "import sys; from pathlib import Path; from mt_pipeline.settings import Settings;"
        "folder = Path(sys.argv[1]);"
        "print(Settings(_env_file=None, data_dir=folder / 'first', scratch_dir=folder)"
        ".options().temporary)"
    )
    there = 'hostname "another" && exec "$@"'
    program = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(
        ["/usr/bin/unshare", "--uts", "sh", "-c", there, "sh", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("only root may have a machine of another name")
    assert Path(done.stdout.strip()).parent == tmp_path
    assert Path(done.stdout.strip()) not in (first, second)


def test_a_folder_that_is_missing_is_refused_with_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_SCRATCH_DIR", str(tmp_path / "not mounted"))
    with pytest.raises(SettingsError, match="MT_SCRATCH_DIR"):
        load()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path):
    found = settings(tmp_path / "data", tmp_path)
    (tmp_path / "theirs").mkdir()
    found.options().temporary.symlink_to(tmp_path / "theirs")
    with pytest.raises(SettingsError, match=r"MT_SCRATCH_DIR: .*belongs to another account"):
        Workspace(found.options())
    if os.geteuid() == 0:
        found.options().temporary.unlink()
        found.options().temporary.mkdir()
        os.chown(found.options().temporary, 65534, 65534)
        with pytest.raises(SettingsError, match=r"MT_SCRATCH_DIR: .*belongs to another account"):
            Workspace(found.options())
