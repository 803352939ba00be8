"""What several machines need, said before anything starts."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

from mt_pipeline.cluster.members import Versions
from mt_pipeline.service import cluster, dagster_home
from mt_pipeline.settings import Settings
from mt_pipeline_tests.pipelines import run_command

READY = {
    "MT_BROKER_URL": "redis://127.0.0.1:1/0",
    "MT_STATE_URL": "postgresql://lab@127.0.0.1:1/state",
    "MT_QUESTDB_HOST": "127.0.0.1",
}


@pytest.fixture(autouse=True)
def _ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**READY, "MT_DATA_DIR": str(tmp_path / "data")}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("command", ["run", "worker"])
@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("MT_STATE_URL", "MT_BROKER_URL needs MT_STATE_URL, too"),
        ("MT_QUESTDB_HOST", "MT_BROKER_URL needs MT_QUESTDB_HOST, too"),
    ],
)
def test_what_several_machines_cannot_share_is_refused(
    command: str,
    without: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    monkeypatch.delenv(without)
    result = run_command(monkeypatch, capsys, [command])
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert not (tmp_path / "data").exists()


def test_a_worker_without_a_broker_is_told_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("MT_BROKER_URL")
    result = run_command(monkeypatch, capsys, ["worker"])
    assert result.code == 2
    assert "MT_BROKER_URL is not set" in result.err


def test_addresses_that_only_this_machine_understands_are_known():
    here = Settings(state_url="postgresql://lab@db/state", questdb_host="localhost").options()
    assert cluster.of_this_machine_alone(here) == ["MT_BROKER_URL", "MT_QUESTDB_HOST"]
    assert "MT_QUESTDB_HOST" not in cluster.of_this_machine_alone(
        Settings(questdb_host="127.0.0.1", backends="parquet").options()
    )


def test_rows_in_parquet_need_no_questdb(tmp_path: Path):
    settings = Settings(questdb_host=None, backends="parquet")
    assert str(cluster.check(settings.options())) == READY["MT_STATE_URL"]


def test_packages_that_are_not_installed_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def found(name: str) -> ModuleSpec | None:
        return None if name == "redis" else find_spec(name)

    monkeypatch.setattr(cluster, "find_spec", found)
    result = run_command(monkeypatch, capsys, ["run"])
    assert result.code == 1
    assert "`make cluster`, or `pip install 'mt_pipeline[cluster]'`" in result.err


def test_a_worker_in_another_data_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    result = run_command(monkeypatch, capsys, ["worker"])
    assert result.code == 1
    assert f"{tmp_path / 'data'} is not the data folder of the head" in result.err


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        (Versions("1 (a)", "4.0.17"), None),
        (Versions("1 (b)", "4.0.17"), "the head has mt_pipeline 1 (a), and this machine 1 (b)"),
        (Versions("1 (a)", "4.2.0"), "the head has tshark 4.0.17, and this machine 4.2.0"),
        (Versions("1 (a)", None), "the head has tshark 4.0.17, and this machine none"),
    ],
)
def test_a_worker_needs_the_versions_of_the_head(mine: Versions, words: str | None):
    reason = cluster.refusal(Versions("1 (a)", "4.0.17"), mine)
    assert words in reason if words and reason else reason is words


def test_a_cluster_has_a_home_of_its_own_and_leaves_that_of_one_machine(tmp_path: Path):
    one = dagster_home.prepare(Settings(broker_url=None).options())
    before = (one / "dagster.yaml").read_text()

    several = dagster_home.prepare(Settings().options())

    assert several == one / "cluster"
    assert "mt_pipeline.defs.launcher" in (several / "dagster.yaml").read_text()
    assert (one / "dagster.yaml").read_text() == before
    assert "cluster" not in before


def test_one_machine_imports_nothing_of_several():
    """The modules of this process are of all tests: ask a new one."""
    names = (
        "celery",
        "redis",
        "dagster_celery",
        "mt_pipeline.cluster",
        "mt_pipeline.defs.launcher",
    )
    asks = (
        "import sys, mt_pipeline.definitions, mt_pipeline.service.supervisor;"
        f"print([name for name in {names} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", asks],
        env={"PATH": "", "MT_DATA_DIR": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr
