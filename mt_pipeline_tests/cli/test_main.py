"""The command line: what it prints, where, and with which exit code. Errors are one line on stderr."""

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
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.pipelines import Lab, Said, capture

Terminal = Callable[..., Said]


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
    assert terminal("--version") == Said(0, f"mt-pipeline, version {__version__}\n", "")
    told = terminal("--help")
    assert (told.code, told.err) == (0, "")
    assert all(command in told.out for command in ("run", "ingest", "status", "purge", "report"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["ingest"],
            "mt-pipeline: Missing argument 'FILE_OR_FOLDER...' (see `mt-pipeline ingest --help`)\n",
        ),
        (["ingest", "--failed", "."], "say either files and folders, or --failed"),
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
        (["purge"], "say either --capture KEY or --name EXPERIMENT"),
        (
            ["purge", "--capture", "a", "--name", "b"],
            "say either --capture KEY or --name EXPERIMENT",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(terminal: Terminal, arguments: list[str], said: str):
    told = terminal(*arguments)

    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert is_one_line(told.err)


def test_without_a_command_the_commands_are_listed(terminal: Terminal):
    told = terminal()

    assert told.code == 2
    assert "ingest   Take captures" in told.out + told.err


@pytest.mark.usefixtures("elsewhere")
def test_status_without_captures_says_how_to_begin(terminal: Terminal):
    assert terminal("status") == Said(
        0, "no captures yet: copy one into the watched folder, or `mt-pipeline ingest FILE`\n", ""
    )
    assert terminal("status", "--json") == Said(0, "[]\n", "")


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
    told = terminal("status", "--json")
    listed = {one["key"]: one for one in json.loads(told.out)}

    assert (told.code, told.err) == (0, "")
    names = ["key", "experiment", "state", "packets", "rows", "skipped", "error", "label", "cut"]
    assert all(list(one) == names for one in listed.values())
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
    assert {one["state"] for one in listed.values()} == {
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
    told = terminal("status", *options)

    assert told.code == 0
    assert [next(key for key in keys if key in line) for line in told.out.splitlines()[:-1]] == keys
    assert told.out.splitlines()[-1] == last
    assert [one["key"] for one in json.loads(terminal("status", "--json", *options).out)] == keys


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ["--state", "faild"],
            2,
            "there is no state 'faild'; did you mean 'failed'? say one of waiting, running, done,",
        ),
        (["--state", "?"], 2, "there is no state '?'; say one of waiting, running, done,"),
        (["--name", "b-B"], 0, ""),
        (["--name", "bb"], 1, "no experiment bb; did you mean 'b_b'? "),
        (["--name", ""], 2, "it is empty"),
    ],
)
@pytest.mark.usefixtures("captures")
def test_status_suggests_what_was_meant(
    terminal: Terminal, options: list[str], code: int, said: str
):
    for told in (terminal("status", *options), terminal("status", "--json", *options)):
        assert told.code == code
        assert said in told.err
        assert told.err == "" or is_one_line(told.err)


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

    told = terminal("status", "--json")

    assert told == Said(
        0,
        "[]\n",
        "mt-pipeline: warning: MT_FLITER in the environment is no setting, so it changes nothing; did you mean 'MT_FILTER'? "
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

    told = terminal(*command)

    assert told.code == 2
    assert is_one_line(told.err)
    assert told.err.startswith(f"mt-pipeline: {name}: Input should be ")


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

    told = subprocess.run(
        [sys.executable, "-m", "mt_pipeline.cli.main", "status"],
        cwd=tmp_path,
        env=others,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(
        "mt-pipeline: MT_QUESTDB_PG_PORT: Input should be a valid integer"
    )
    assert is_one_line(told.stderr)
    assert "s3cret" not in told.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["purge", "--name", "x"]], ids=" ".join
)
def test_a_damaged_ledger_is_one_line_with_the_cure(
    terminal: Terminal, elsewhere: Path, command: list[str]
):
    elsewhere.mkdir()
    (elsewhere / "ledger.sqlite").write_bytes(b"this is no SQLite file" * 500)

    told = terminal(*command)

    assert (told.code, told.out) == (1, "")
    assert is_one_line(told.err)
    assert "it is damaged: stop the service and move it away" in told.err


def test_a_data_folder_that_is_a_file_is_one_line(terminal: Terminal, elsewhere: Path):
    elsewhere.write_text("not a folder")

    told = terminal("purge", "--name", "x")

    assert told.code == 1
    assert is_one_line(told.err)
    assert str(elsewhere) in told.err


def test_a_questdb_that_does_not_answer_is_one_line_and_code_1(
    terminal: Terminal, lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.put("cli_unreachable/a.pcap")
    assert terminal("ingest", lab.inbox / "cli_unreachable" / "a.pcap").code == 0
    monkeypatch.setenv("MT_QUESTDB_PG_PORT", "1")
    monkeypatch.setenv("MT_QUESTDB_PASSWORD", "s3cret")

    told = terminal("purge", "--name", "cli_unreachable", "--yes")
    assert told.code == 1
    assert is_one_line(told.err)
    assert "QuestDB does not answer at 127.0.0.1:1" in told.err
    failed = terminal("ingest", lab.inbox / "cli_unreachable" / "a.pcap")
    assert failed.code == 1
    assert failed.err.startswith(
        "failed: cli_unreachable/a.pcap: QuestDB does not answer at 127.0.0.1:1 ("
    )
    assert failed.err.count("\n") == 1
    assert "s3cret" not in told.out + told.err + failed.out + failed.err
