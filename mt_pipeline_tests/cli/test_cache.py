"""`mt-pipeline cache`: what it prints, imports and exports, and that it never blocks runs."""

import io
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, addresses
from mt_pipeline_tests.fake_netify import address_body
from mt_pipeline_tests.pipelines import Result, run_command

Terminal = Callable[..., Result]


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """Give the command line a data folder of its own; nothing else is needed."""
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / "data"))
    return lambda *arguments: run_command(monkeypatch, capsys, ["cache", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Say where the answers lie."""
    return tmp_path / "data" / "cache" / "answers"


def opened(folder: Path) -> AnswerStore:
    return AnswerStore(folder, answer_days=14, not_found_days=1)


def keep(folder: Path, *answers: tuple[Endpoint, float, str | None]) -> None:
    """Keep answers: of what, how many days ago, and which application."""
    with opened(folder) as store:
        for endpoint, days, app in answers:
            store.put(
                Answer(
                    endpoint,
                    "netify",
                    app is not None,
                    datetime.now(UTC) - timedelta(days=days),
                    Facts(app_tag=app),
                )
            )


def is_one_line(text: str) -> bool:
    return text.startswith("mt-pipeline: ") and text.endswith("\n") and text.count("\n") == 1


def test_without_answers_each_command_says_so_and_makes_no_store(terminal, folder, tmp_path):
    assert (
        terminal() == terminal("show") == Result(0, f"no answers are stored yet in {folder}\n", "")
    )
    assert json.loads(terminal("--json").out) == {
        "folder": str(folder),
        "bytes": 0,
        "unreadable": 0,
        "providers": {},
    }
    assert terminal("check") == Result(0, f"{folder}: all is well\n", "")
    assert (
        terminal("prune", "--yes").out
        == "0 answers are older than 365 days and not the newest of their endpoint\n"
    )
    assert (
        terminal("export", tmp_path / "x").err
        == f"mt-pipeline: no answers are stored yet in {folder}\n"
    )
    assert not folder.exists()


def test_show_says_what_is_kept_of_each_provider_and_how_often_it_was_of_use(terminal, folder):
    keep(folder, (GOOGLE, 400, "old"), (GOOGLE, 1, "new"), (NETFLIX, 2, None))
    with opened(folder) as store:
        store.put(Answer(GOOGLE, "lab", True, datetime.now(UTC)))
        store.get("netify", GOOGLE)
        store.get("netify", NETFLIX)
    result = json.loads(terminal("show", "--json").out)
    netify = result["providers"]["netify"]
    assert {
        name: netify[name]
        for name in (
            "answers",
            "found",
            "not_found",
            "expired",
            "earlier",
            "hits",
            "misses",
            "calls_saved",
        )
    } == {
        **{
            "answers": 2,
            "found": 1,
            "not_found": 1,
            "expired": 1,
            "earlier": 1,
            "hits": 1,
            "misses": 1,
            "calls_saved": 0,
        },
    }
    assert datetime.now(UTC) - datetime.fromisoformat(netify["oldest"]) > timedelta(days=399)
    assert datetime.now(UTC) - datetime.fromisoformat(netify["newest"]) < timedelta(days=2)
    assert result["providers"]["lab"]["answers"] == 1
    assert result["bytes"] > 4096

    header, lab, netify, size = terminal().out.splitlines()
    assert header.split()[:5] == ["provider", "answers", "found", "not", "found"]
    assert (lab.split()[:2], netify.split()[:5]) == (["lab", "1"], ["netify", "2", "1", "1", "1"])
    assert size == f"{result['bytes']:,} bytes in {folder}"


def test_check_finds_nothing_in_a_store_that_is_well(terminal, folder):
    keep(folder, (GOOGLE, 1, "a"))
    assert terminal("check") == Result(0, f"{folder}: all is well\n", "")


def test_check_names_records_that_cannot_be_read_and_changes_nothing(terminal, folder):
    keep(folder, *((endpoint, 1, "a") for endpoint in addresses(30)))
    with closing(sqlite3.connect(folder / "cache.db")) as file, file:
        file.execute("UPDATE Cache SET value = 'scribble' WHERE key <> 'netify/address/8.0.0.0'")
    before = (folder / "cache.db").read_bytes()
    result = terminal("check")
    assert result.code == 1
    assert len(result.out.splitlines()) == 21
    assert result.out.splitlines()[-1] == "… and 9 more"
    assert "the record 'netify/address/8.0.0.1' cannot be read" in result.out
    assert (folder / "cache.db").read_bytes() == before
    assert (
        terminal("show").out.splitlines()[-1]
        == "29 records cannot be read: `mt-pipeline cache check` names them"
    )


@pytest.mark.parametrize("where", [0, 0.5])
def test_check_says_that_the_file_is_damaged_and_leaves_the_mending_to_the_next_run(
    terminal, folder, where
):
    keep(folder, *((endpoint, 1, "a") for endpoint in addresses(300)))
    content = bytearray((folder / "cache.db").read_bytes())
    begin = int(len(content) * where)
    content[begin : begin + 8192] = b"\x55" * 8192
    (folder / "cache.db").write_bytes(content)
    result = terminal("check")
    assert result.code == 1
    assert all(line.startswith(f"{folder / 'cache.db'}: ") for line in result.out.splitlines())
    assert (folder / "cache.db").read_bytes() == content
    assert terminal("show").code == 0
    assert terminal("check").code == 0


def test_answers_go_out_and_come_in_again_elsewhere(terminal, folder, tmp_path, monkeypatch):
    keep(folder, (GOOGLE, 400, "old"), (GOOGLE, 1, "new"), (NETFLIX, 2, None))
    assert terminal("export", tmp_path / "answers.ndjson") == Result(
        0, f"3 answers in {tmp_path / 'answers.ndjson'}\n", ""
    )
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / "elsewhere"))
    for _ in range(2):
        assert terminal("import", tmp_path / "answers.ndjson") == Result(
            0, "3 answers taken in\n", ""
        )
    assert json.loads(terminal("--json").out)["providers"]["netify"]["earlier"] == 1


def test_broken_lines_are_named_the_first_of_them_and_the_rest_comes_in(terminal, tmp_path):
    good = History.of(Answer(GOOGLE, "netify", True, datetime.now(UTC))).to_lines()[0]
    (tmp_path / "answers").write_text("\n".join(["broken"] * 30 + [good]))
    result = terminal("import", tmp_path / "answers")
    assert (result.code, result.out) == (1, "1 answers taken in; passed over: 30 broken\n")
    assert result.err.splitlines() == [
        f"line {number}: no JSON in UTF-8" for number in range(1, 21)
    ]


def test_the_cache_of_the_original_comes_in(terminal, tmp_path):
    for name in ("8.8.8.8", "10.0.0.1"):
        path = tmp_path / "netify_cache" / "ips" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(address_body(name)))
    result = terminal("import", tmp_path / "netify_cache")
    assert result == Result(
        0,
        "1 answers taken in; passed over: 1 that nobody is asked about\n",
        f"{path}: nothing that anybody is asked about\n",
    )


def test_prune_says_what_it_will_do_asks_and_gives_the_disk_back(terminal, folder, monkeypatch):
    many = addresses(200)
    with opened(folder) as store:
        for days, app in ((800, "oldest" * 40), (700, "old" * 40), (1, "new")):
            moment = datetime.now(UTC) - timedelta(days=days)
            store.take_in(
                History.of(Answer(endpoint, "netify", True, moment, Facts(app_tag=app)))
                for endpoint in many
            )
    size = (folder / "cache.db").stat().st_size
    question = "400 answers are older than 365 days and not the newest of their endpoint\n"

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    result = terminal("prune")
    assert (result.code, result.out.startswith(question), result.err.strip()) == (
        130,
        True,
        "mt-pipeline: cancelled",
    )
    assert terminal("prune", "--older-than", "900").out.startswith(
        "0 answers are older than 900 days"
    )

    result = terminal("prune", "--yes")
    assert result.code == 0
    assert result.out.startswith(f"{question}400 answers deleted, ")
    assert (folder / "cache.db").stat().st_size < size / 2
    with opened(folder) as store:
        assert all(
            known and [entry.facts.app_tag for entry in known.entries] == ["new"]
            for known in store.histories("netify", many)
        )


def test_a_run_goes_on_while_answers_are_taken_in_and_pruned(terminal, folder, tmp_path):
    with opened(folder) as store:
        for app in "abc":
            moment = datetime.now(UTC) - timedelta(days=ord("z") - ord(app))
            store.take_in(
                History.of(Answer(endpoint, "netify", True, moment, Facts(app_tag=app)))
                for endpoint in addresses(3000)
            )
        file = tmp_path / "answers"
        assert terminal("export", file).code == 0
        ended = threading.Event()
        counts: list[int] = []

        def run() -> None:
            with opened(folder) as other:
                while not ended.is_set():
                    other.put(
                        Answer(
                            NETFLIX,
                            "netify",
                            True,
                            datetime.now(UTC),
                            Facts(app_tag=f"run-{len(counts)}"),
                        )
                    )
                    counts.append(sum(map(bool, other.histories("netify", addresses(50)))))

        runner = threading.Thread(target=run)
        runner.start()
        try:
            assert terminal("import", file).code == 0
            assert terminal("prune", "--older-than", "1", "--yes").code == 0
            assert terminal("check").code == 0
        finally:
            ended.set()
            runner.join()
        assert set(counts) == {50}
        [known] = store.histories("netify", [NETFLIX])
        assert len(known.entries) == len(counts) > 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["import", "/nowhere"], 2, "'/nowhere' does not exist"),
        (["import", "{folder}"], 1, "has no folder `ips` or `hostnames`"),
        (["export", "{folder}"], 2, "is a directory"),
        (["export", "/dev/null/x"], 2, "/dev/null"),
        (["prune", "--older-than", "-1"], 2, "-1"),
        (["prune", "--older-than", "1e300"], 1, "1e+300 days are no age"),
        (["digest"], 2, "No such command 'digest'"),
        (["--json", "check"], 2, "put --json after `show`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_one_line(terminal, folder, arguments, code, message):
    keep(folder, (GOOGLE, 1, "a"))
    result = terminal(*(argument.format(folder=folder) for argument in arguments))
    assert result.code == code
    assert message in result.err
    assert is_one_line(result.err)


@pytest.mark.parametrize(
    "command", [["show"], ["check"], ["export", "never-made"], ["prune", "--yes"]], ids=" ".join
)
def test_a_folder_that_cannot_be_used_is_one_line(terminal, folder, command):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    result = terminal(*command)
    assert result.code == 1
    assert str(folder) in result.out + result.err
    assert "Traceback" not in result.out + result.err
