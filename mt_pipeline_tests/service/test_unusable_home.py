"""A file of Dagster's home that cannot be used is named, with the reason and the cure."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.service import dagster_home
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline_tests.services import free_ports

DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home that has been used."""
    home = dagster_home.prepare(Settings(_env_file=None, data_dir=tmp_path / "data").options())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        instance.all_asset_keys()
    return home


def said(home: Path) -> str:
    """Start the server in a home, and return what it prints when it has ended."""
    [port] = free_ports(1)
    server = [sys.executable, "-W", "ignore", "-m", "mt_pipeline.service.dagster_server", "--local"]
    ended = subprocess.run(
        [*server, "--workspace", str(PROJECT / "workspace.yaml"), "--port", str(port)],
        env={**os.environ, "DAGSTER_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    return ended.stderr.removesuffix("\n")


@pytest.mark.parametrize("name", DATABASES)
def test_a_damaged_database_is_named_and_not_traced(home: Path, name: str):
    """It was a trace for each of Dagster's programs, and none of them named the file."""
    whole = (home / name).read_bytes()
    (home / name).write_bytes(whole[:100] + b"damage" * 1000)

    text = said(home)

    assert text.startswith(f"Error: {home / name} is damaged (")
    assert text.endswith(
        "): stop what uses it and move it away; a new one is made, without the history of runs, "
        "and no row changes"
    )


def test_with_the_damaged_database_away_a_new_one_is_made(home: Path):
    for name in DATABASES:
        (home / name).rename(home / "away")

        with dg.DagsterInstance.get() as instance:
            assert instance.get_runs_count() == 0
            assert instance.all_asset_keys() == []
        assert (home / name).exists()


def test_a_database_that_cannot_be_opened_is_not_called_damaged(home: Path):
    """Of a healthy file nobody should be told to move it away, as on a full disk."""
    (home / "history/runs.db").unlink()
    (home / "history/runs.db").mkdir()

    assert said(home) == (
        f"Error: Dagster's history in {home} cannot be used (unable to open database file): see "
        "whether its disk is full or broken, whether this user may write there, and whether "
        "another program holds it"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [", "while parsing a flow node"),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode byte 0xff"),
        (b"5", "Failure condition: Expected YAML from file"),
        (b"nope: 1", "Errors whilst loading dagster instance config"),
        (b"storage: {custom: {module: nope, class: X}}", "Failure condition: Couldn't import"),
    ],
)
def test_broken_settings_are_named_and_not_traced(home: Path, content: bytes, reason: str):
    (home / "dagster.yaml").write_bytes(content)

    text = said(home)

    assert text.startswith(f"Error: {home}/dagster.yaml cannot be used ({reason}")
    assert text.endswith("): correct it, or move it away, and `mt-pipeline run` makes a new one")
    assert len(text) < 700
