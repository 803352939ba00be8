"""`make setup`: what it prepares, what it says, and that it can be repeated."""

import string
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.service import dagster_home, setup
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline.system.processes import cores
from mt_pipeline_tests.pipelines import (
    PASSWORD,
    TSHARK,
    capture,
    ended,
    environment,
    program,
    settings_of,
    wrapper,
)
from mt_pipeline_tests.services import free_ports


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give a data folder of our own, and a QuestDB that is somewhere else: no jar is needed."""
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MT_QUESTDB_HOST", "127.0.0.1")
    monkeypatch.setenv("MT_TSHARK", TSHARK)
    return tmp_path / "data"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    return (out + err).splitlines()


def test_it_makes_the_folders_and_dagsters_settings_and_says_so(
    data: Path, capsys: pytest.CaptureFixture[str]
):
    assert setup.main() == 0

    assert (data / "inbox").is_dir()
    ours, theirs = (
        yaml.safe_load(file.read_text())
        for file in (PROJECT / "dagster.yaml", data / "dagster" / "dagster.yaml")
    )
    storage = {
        "module": "mt_pipeline.defs.storage",
        "class": "Storage",
        "config": {"base_dir": {"env": "DAGSTER_HOME"}},
    }
    assert theirs == {
        **ours,
        "concurrency": {"runs": {"max_concurrent_runs": cores()}},
        "storage": {"custom": storage},
    }
    first, last = lines(capsys)
    assert first.startswith("make setup: tshark ")
    assert first.endswith(f" at {TSHARK}")
    assert last == f"make setup: data folder {data}, watched folder {data / 'inbox'}"


def test_it_can_be_repeated_and_leaves_what_the_user_changed(data: Path):
    assert setup.main() == 0
    (data / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (data / "inbox" / "kitchen").mkdir()

    assert setup.main() == 0

    assert (data / "dagster" / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    assert (data / "inbox" / "kitchen").is_dir()


def test_a_watched_folder_elsewhere_is_made_too(tmp_path: Path):
    given = Settings(
        _env_file=None, data_dir=tmp_path / "data", inbox=tmp_path / "srv" / "captures"
    )

    assert dagster_home.prepare(given.options()) == tmp_path / "data" / "dagster"

    assert (tmp_path / "srv" / "captures").is_dir()
    assert not (tmp_path / "data" / "inbox").exists()


def test_a_tshark_that_is_not_there_is_a_line_that_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
):
    monkeypatch.setenv("MT_TSHARK", "/nowhere/tshark")

    assert setup.main() == 1

    [line] = lines(capsys)
    assert line.startswith(
        "make setup: tshark not found as '/nowhere/tshark'; install it: `sudo apt-get install "
        "tshark` (Debian, Ubuntu)"
    )
    assert "dnf install wireshark-cli" in line
    assert "brew install wireshark" in line
    assert not data.exists()


def test_what_makes_tshark_faster_is_installed_once_and_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    tried: list[str] = []

    def install(package: str) -> bool:
        tried.append(package)
        return True

    monkeypatch.setenv("MT_TSHARK", str(wrapper(tmp_path / "tshark", "exit 1")))

    assert (setup.main(install=install), setup.main(install=install)) == (0, 0)

    assert tried == ["lua-posix"]
    first, second, _, again, *_ = lines(capsys)
    assert first == again
    assert second.startswith(
        "make setup: tshark works without a sandbox, though it parses what strangers send: "
        "install bubblewrap; "
    )
    assert first.endswith(
        f" at {tmp_path}/tshark; it starts anew for each capture, which makes small ones slow: "
        "install lua-posix, if your system has it"
    )


def test_a_tshark_that_is_too_old_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    old = tmp_path / "old-tshark"
    old.write_text(
        "#!/bin/sh\necho 'TShark (Wireshark) 3.4.10 (Git v3.4.10 packaged as 3.4.10-0+deb11u1)'\n"
    )
    old.chmod(0o755)
    monkeypatch.setenv("MT_TSHARK", str(old))

    assert setup.main() == 1

    [line] = lines(capsys)
    assert line.startswith(
        f"make setup: tshark 3.4.10 at {old} is too old, 3.6 is the oldest that can be used; "
        "install it: "
    )


def test_a_setting_that_cannot_be_used_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MT_DAGSTER_PORT", "x")

    assert setup.main() == 1

    [line] = lines(capsys)
    assert line.startswith("make setup: MT_DAGSTER_PORT: ")


def test_a_data_folder_that_cannot_be_made_is_a_line(
    data: Path, capsys: pytest.CaptureFixture[str]
):
    data.write_text("a file")

    assert setup.main() == 1

    assert str(data) in lines(capsys)[-1]


def test_as_a_program_it_ends_with_its_verdict(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MT_TSHARK", "/nowhere/tshark")

    done = subprocess.run(
        [sys.executable, "-m", "mt_pipeline.service.setup"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1


def test_folders_may_have_any_name_that_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    every = string.punctuation.replace("/", "")
    plain = "".join(letter for letter in every if letter not in "*?[]{}%")
    data, inbox = tmp_path / f"d {plain} é測", tmp_path / f"i {every} é測"
    http, pg = free_ports(2)
    database = Database("127.0.0.1", http, pg, "admin", PASSWORD)
    settings = settings_of(
        data, database, questdb_host=None, inbox=inbox, backends="parquet,questdb"
    )
    env = environment(settings, MT_INBOX=str(inbox), MT_BACKENDS="parquet,questdb")
    env.pop("MT_QUESTDB_HOST", None)
    env.pop("DAGSTER_DISABLE_TELEMETRY")
    subprocess.run(
        [sys.executable, "-m", "mt_pipeline.service.setup"],
        env=env,
        check=True,
        capture_output=True,
    )

    result = ended(
        program("ingest", capture(inbox / "room" / "a.pcap"), settings=settings, env=env)
    )

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("room/a.pcap: 2 packets, 2 rows in ")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([data.name, inbox.name])
    assert [
        path
        for path in (data / "dagster").rglob("*")
        if "telemetry" in path.name or path.name == "event.log"
    ] == []
    assert (data / "dagster" / "history" / "runs" / "index.db").exists()
