"""The command line: what it prints, where, and its exit codes. Errors are one line on stderr."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline import __version__
from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.cli.main import COMMANDS, cli
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.pipelines import Lab, Result, capture

Terminal = Callable[..., Result]


@pytest.fixture
def elsewhere(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the command line a data folder of its own."""
    assert terminal  # its settings come first
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def is_one_line(text: str) -> bool:
    return (
        text.startswith("mt-pipeline: ")
        and text.endswith("\n")
        and text.count("\n") == 1
        and "Traceback" not in text
    )


def test_help_and_version(terminal: Terminal):
    assert terminal("--version") == Result(0, f"mt-pipeline, version {__version__}\n", "")
    result = terminal("--help")
    assert (result.code, result.err) == (0, "")
    assert all(command in result.out for command in ("run", "ingest", "status", "purge", "report"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["ingest"],
            "mt-pipeline: Missing argument 'FILE_OR_FOLDER...' (see `mt-pipeline ingest --help`)\n",
        ),
        (["ingest", "--failed", "."], "name either files and folders, or --failed"),
        (["ingest", "/nowhere/x.pcap"], "'/nowhere/x.pcap' does not exist"),
        (["digest", "x.pcap"], "No such command 'digest'"),
        (["ingest", "--nmae", "x", "."], "--nmae"),
        (["ingset", "x.pcap"], "No such command 'ingset'. Did you mean 'ingest'?"),
        (["ingest", "--flter", "x", "."], "Did you mean one of: '--failed', '--filter'?"),
        (
            ["report", "x", "--output", "no/such/x.html"],
            "'no/such' is no folder yet: make it first, or name another file",
        ),
        (
            ["report", "x", "--output", "/dev/null/x.html"],
            "'/dev/null' is no folder: name another file",
        ),
        (
            ["cache", "export", "no/such/x.ndjson"],
            "'no/such' is no folder yet: make it first, or name another file",
        ),
        (["purge"], "use either --capture KEY or --name EXPERIMENT"),
        (
            ["purge", "--capture", "a", "--name", "b"],
            "use either --capture KEY or --name EXPERIMENT",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(terminal: Terminal, arguments: list[str], message: str):
    result = terminal(*arguments)

    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert is_one_line(result.err)


def test_without_a_command_the_commands_are_listed(terminal: Terminal):
    result = terminal()

    assert result.code == 2
    assert "ingest    Load captures" in result.out + result.err


@pytest.mark.usefixtures("elsewhere")
def test_status_without_captures_says_how_to_begin(terminal: Terminal):
    assert terminal("status") == Result(
        0, "no captures yet: copy one into the watched folder, or `mt-pipeline ingest FILE`\n", ""
    )
    assert terminal("status", "--json") == Result(0, "[]\n", "")


@pytest.fixture
def captures(elsewhere: Path) -> None:
    """Fill a ledger with a capture in each state."""
    ledger, inbox = Ledger(elsewhere / "ledger.sqlite"), elsewhere / "inbox"
    for key in (
        "a/done.pcap",
        "a/done_twice.pcap",
        "a/failed.pcap",
        "a/waiting.pcap",
        "b/purged.pcap",
        "b/running.pcap",
    ):
        capture(inbox / key)
        ledger.take(capture_at(inbox, key))
    for key in ("a/done.pcap", "a/done_twice.pcap"):
        ledger.claim(capture_at(inbox, key), run="x")
        ledger.hashed(key, "0")
    ledger.finish("a/done_twice.pcap", sha256="0", documents="0", packets=1, rows=1, skipped={})
    ledger.finish(
        "a/done.pcap", sha256="0", documents="0", packets=12345, rows=12344, skipped={"no time": 1}
    )
    ledger.fail("a/failed.pcap", "a/failed.pcap is broken")
    ledger.finish("b/purged.pcap", sha256="0", documents="0", packets=1, rows=1, skipped={})
    ledger.purge("b/purged.pcap")
    capture(inbox / "b/refused.pcap")
    ledger.refuse(capture_at(inbox, "b/refused.pcap"), "it is none")
    ledger.claim(capture_at(inbox, "b/running.pcap"), run="x")
    capture(inbox / "B b/alexa/cut.pcap")
    ledger.take(capture_at(inbox, "B b/alexa/cut.pcap"))
    ledger.finish(
        "B b/alexa/cut.pcap", sha256="1", documents="1", packets=7, rows=7, skipped={}, cut=True
    )


@pytest.mark.usefixtures("captures")
def test_status_as_json_is_for_programs(terminal: Terminal):
    result = terminal("status", "--json")
    listed = {entry["key"]: entry for entry in json.loads(result.out)}

    assert (result.code, result.err) == (0, "")
    names = ["key", "experiment", "state", "packets", "rows", "skipped", "error", "label", "cut"]
    assert all(list(entry) == names for entry in listed.values())
    assert listed["a/done.pcap"] == {
        "key": "a/done.pcap",
        "experiment": "a",
        "state": "done",
        "packets": 12345,
        "rows": 12344,
        "skipped": {"no time": 1},
        "error": None,
        "label": None,
        "cut": False,
    }
    assert listed["a/failed.pcap"]["error"] == "a/failed.pcap is broken"
    assert listed["a/failed.pcap"]["packets"] is None
    assert (listed["B b/alexa/cut.pcap"]["label"], listed["B b/alexa/cut.pcap"]["cut"]) == (
        "alexa",
        True,
    )
    assert {entry["state"] for entry in listed.values()} == {
        "waiting",
        "running",
        "done",
        "failed",
        "refused",
        "purged",
    }


@pytest.mark.usefixtures("captures")
def test_status_for_people_is_a_line_per_capture(terminal: Terminal):
    lines = terminal("status").out.splitlines()

    states = ["done", "done", "done", "failed", "waiting", "purged", "refused", "running", "8"]
    assert [line.split()[0] for line in lines] == states
    assert [line.split()[1] for line in lines[:-1]] == ["b_b", *["a"] * 4, *["b"] * 3]
    assert lines[1].startswith("done     a   a/done.pcap  ")
    assert lines[1].endswith("  12,345 packets, 12,344 rows, 1 skipped: no time")
    assert lines[2].endswith("  1 packets, 1 rows, the same bytes as a/done.pcap")
    assert lines[3].endswith("  a/failed.pcap is broken")


def test_one_long_key_does_not_make_all_lines_as_long(elsewhere: Path, terminal: Terminal):
    """A key of 600 characters once filled every line up to its length."""
    for key in (f"lab/{'x' * 200}/{'y' * 200}.pcap", "lab/short.pcap", f"lab/{'z' * 40}.pcap"):
        capture(elsewhere / "inbox" / key)
        Ledger(elsewhere / "ledger.sqlite").refuse(capture_at(elsewhere / "inbox", key), "no")
    lines = [line for line in terminal("status").out.splitlines() if " lab " in line]
    assert len(lines) == 3
    assert sorted(map(len, lines))[1] < 100
    assert len({line.index("  no") for line in lines if len(line) < 100}) == 1


@pytest.mark.usefixtures("captures")
def test_status_says_what_is_cut(terminal: Terminal):
    """It was plainly done, as if nothing was missing."""
    lines = terminal("status").out.splitlines()

    assert lines[0].split()[:3] == ["done", "b_b", "B"]
    assert lines[0].endswith("  7 packets, 7 rows, cut inside its last packet")
    assert "3 done (1 of them cut)" in lines[-1]


@pytest.mark.usefixtures("captures")
def test_status_ends_with_how_many_are_in_each_state(terminal: Terminal):
    last = terminal("status").out.splitlines()[-1]

    in_states = r"1 waiting, 1 running, 3 done \(1 of them cut\), 1 failed, 1 refused, 1 purged"
    assert re.fullmatch(rf"8 captures: {in_states}, \d+\.\d a second, 1 s left", last)


@pytest.mark.parametrize(
    ("options", "keys", "last"),
    [
        (
            ["--name", "b"],
            ["b/purged.pcap", "b/refused.pcap", "b/running.pcap"],
            "3 of 8 captures: 1 running, 1 refused, 1 purged",
        ),
        (["--name", "B b"], ["B b/alexa/cut.pcap"], "1 of 8 captures: 1 done (1 of them cut)"),
        (["--state", "failed"], ["a/failed.pcap"], "1 of 8 captures: 1 failed"),
        (
            ["--state", "failed", "--state", "waiting"],
            ["a/failed.pcap", "a/waiting.pcap"],
            "2 of 8 captures: 1 waiting, 1 failed",
        ),
        (["--state", "failed", "--name", "b"], [], "0 of 8 captures"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("captures")
def test_status_of_an_experiment_or_a_state(
    terminal: Terminal, options: list[str], keys: list[str], last: str
):
    result = terminal("status", *options)

    assert result.code == 0
    assert [
        next(key for key in keys if key in line) for line in result.out.splitlines()[:-1]
    ] == keys
    assert result.out.splitlines()[-1] == last
    assert [
        entry["key"] for entry in json.loads(terminal("status", "--json", *options).out)
    ] == keys


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--state", "faild"],
            2,
            "there is no state 'faild'; did you mean 'failed'? use one of waiting, running, done,",
        ),
        (["--state", "?"], 2, "there is no state '?'; use one of waiting, running, done,"),
        (["--name", "b-B"], 0, ""),
        (["--name", "bb"], 1, "no experiment bb; did you mean 'b_b'? "),
        (["--name", ""], 2, "it is empty"),
    ],
)
@pytest.mark.usefixtures("captures")
def test_status_suggests_what_was_meant(
    terminal: Terminal, options: list[str], code: int, message: str
):
    for result in (terminal("status", *options), terminal("status", "--json", *options)):
        assert result.code == code
        assert message in result.err
        assert result.err == "" or is_one_line(result.err)


@pytest.mark.usefixtures("captures")
def test_status_needs_neither_questdb_nor_dagster_nor_tshark(
    terminal: Terminal, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_QUESTDB_PG_PORT", "1")
    monkeypatch.setenv("MT_TSHARK", "/nowhere/tshark")

    assert terminal("status").code == 0
    assert not (elsewhere / "dagster").exists()


@pytest.mark.usefixtures("elsewhere")
def test_a_misspelt_setting_is_a_warning_once_and_the_command_goes_on(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_FLITER", "s3cret")

    result = terminal("status", "--json")

    assert result == Result(
        0,
        "[]\n",
        "mt-pipeline: warning: MT_FLITER in the environment is no setting, so it changes "
        "nothing; did you mean 'MT_FILTER'? "
        "docs/settings.md lists all\n",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("MT_QUESTDB_HTTP_PORT", "nine"), ("MT_SETTLE_SECONDS", "-1"), ("MT_DAGSTER_PORT", "99999")],
)
@pytest.mark.parametrize(
    "command",
    [["status"], ["purge", "--name", "x"], ["ingest", "."], ["run"]],
    ids=lambda command: command[0],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str, value: str
):
    monkeypatch.setenv(name, value)

    result = terminal(*command)

    assert result.code == 2
    assert is_one_line(result.err)
    assert result.err.startswith(f"mt-pipeline: {name}: Input should be ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MT_NETIFY_URL", "http://ada:s3cret@127.0.0.1:1/api/v2"),
        ("MT_NETIFY_URL", "127.0.0.1/api/v2"),
        ("MT_NETIFY_API_KEY", "s3cret\nX: y"),
        ("MT_NETIFY_API_KEY", "s3cret\u00fc"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [["purge", "--name", "x"], ["ingest", "."], ["refresh", "--all"], ["run"]],
    ids=lambda command: command[0],
)
@pytest.mark.usefixtures("elsewhere")
def test_settings_of_netify_that_can_never_work_are_refused_before_anything_is_done(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str, value: str
):
    """`refresh` ended with status 1, and said nothing at all."""
    monkeypatch.setenv("MT_ENRICHMENT", "netify")
    monkeypatch.setenv("MT_NETIFY_API_KEY", "s3cret")
    monkeypatch.setenv(name, value)

    result = terminal(*command)

    assert result.code == 2
    assert is_one_line(result.err)
    assert result.err.startswith(f"mt-pipeline: {name} is ")
    assert "s3cret" not in result.err


def test_a_value_in_a_dotenv_file_that_cannot_be_used_is_named_too(tmp_path: Path):
    shutil.copytree(
        PROJECT / "mt_pipeline",
        tmp_path / "mt_pipeline",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / ".env").write_text(
        "MT_QUESTDB_PASSWORD=s3cret\nMT_NETIFY_API_KEY=s3cret\nMT_QUESTDB_PG_PORT=s3cret-port\n"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("MT_")}

    result = subprocess.run(
        [sys.executable, "-m", "mt_pipeline.cli.main", "status"],
        cwd=tmp_path,
        env=others,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "mt-pipeline: MT_QUESTDB_PG_PORT: Input should be a valid integer"
    )
    assert is_one_line(result.stderr)
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["purge", "--name", "x"]], ids=" ".join
)
def test_a_damaged_ledger_is_one_line_with_the_cure(
    terminal: Terminal, elsewhere: Path, command: list[str]
):
    elsewhere.mkdir()
    (elsewhere / "ledger.sqlite").write_bytes(b"this is no SQLite file" * 500)

    result = terminal(*command)

    assert (result.code, result.out) == (1, "")
    assert is_one_line(result.err)
    assert "it is damaged: stop the service and move it away" in result.err


def test_a_data_folder_that_is_a_file_is_one_line(terminal: Terminal, elsewhere: Path):
    elsewhere.write_text("not a folder")

    for command in (["purge", "--name", "x"], ["status"], ["run"]):
        result = terminal(*command)

        assert (result.code, result.out) == (2, "")
        assert is_one_line(result.err)
        assert f"'{elsewhere}' is a file: move it away" in result.err


@pytest.mark.usefixtures("captures")
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "history/runs.db",
            b"this is no SQLite file" * 500,
            "a database of Dagster in {home}/history cannot be used (file is not a database): "
            "it is damaged: stop the service and move {home}/history away; new ones are made",
        ),
        *(
            ("dagster.yaml", content, "{home}/dagster.yaml cannot be used (")
            for content in (b"a: [", b"nonsense: 3", b"- x", b"storage: 5", b"\xff")
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_damaged_file_of_dagster_is_one_line_with_the_cure(
    terminal: Terminal,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    content: bytes,
    message: str,
):
    monkeypatch.setenv("MT_BACKENDS", "parquet")
    home = elsewhere / "dagster"
    (home / file).parent.mkdir(parents=True)
    (home / file).write_bytes(content)

    result = terminal("purge", "--name", "a", "--yes")

    assert result.code == 1
    assert is_one_line(result.err)
    assert result.err.startswith(f"mt-pipeline: {message.format(home=home)}")


@pytest.mark.usefixtures("captures")
def test_a_file_in_the_place_of_dagsters_folder_is_one_line_with_the_cure(
    terminal: Terminal, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_BACKENDS", "parquet")
    (elsewhere / "dagster").touch()

    assert terminal("purge", "--name", "a", "--yes").err == (
        f"mt-pipeline: {elsewhere}/dagster: something of this name is there already: move it away\n"
    )


def test_a_questdb_that_does_not_answer_is_one_line_and_code_1(
    terminal: Terminal, lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.put("cli_unreachable/a.pcap")
    assert terminal("ingest", lab.inbox / "cli_unreachable" / "a.pcap").code == 0
    monkeypatch.setenv("MT_QUESTDB_PG_PORT", "1")
    monkeypatch.setenv("MT_QUESTDB_PASSWORD", "s3cret")

    result = terminal("purge", "--name", "cli_unreachable", "--yes")
    assert result.code == 1
    assert is_one_line(result.err)
    assert "QuestDB does not answer at 127.0.0.1:1" in result.err
    failed = terminal("ingest", lab.inbox / "cli_unreachable" / "a.pcap")
    assert failed.code == 1
    assert failed.err.startswith(
        "failed: cli_unreachable/a.pcap: QuestDB does not answer at 127.0.0.1:1 ("
    )
    assert failed.err.count("\n") == 1
    assert "s3cret" not in result.out + result.err + failed.out + failed.err


HEAVY = {"dagster", "duckdb", "pyarrow", "psycopg", "requests"}
"""Packages that take long to import."""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["status"], 0), (["ingset"], 2), (["purge"], 2), (["refresh", "--help"], 0)],
    ids=str,
)
def test_help_wrong_usage_and_status_import_nothing_heavy(
    tmp_path: Path, arguments: list[str], code: int
):
    env = {**os.environ, "MT_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-X", "importtime", "-m", "mt_pipeline.cli.main", *arguments]

    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    times = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in times}
    assert result.returncode == code
    assert "click" in imported
    assert imported & HEAVY == set()


def test_the_help_of_a_command_begins_as_in_the_list_of_all():
    firsts = {name: command.get_short_help_str(200) for name, command in cli.commands.items()}

    assert firsts == COMMANDS
