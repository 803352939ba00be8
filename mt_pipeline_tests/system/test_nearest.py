"""Suggestions for misspelt names, and every command that takes one."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.system.nearest import did_you_mean
from mt_pipeline_tests.pipelines import Result, capture

Terminal = Callable[..., Result]


@pytest.fixture
def ledger(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ledger:
    """Set up a data folder for the command line, with a capture of the experiment `kitchen`."""
    assert terminal  # which sets other settings first
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / "data"))
    inbox = tmp_path / "data" / "inbox"
    capture(inbox / "Kitchen" / "monday.pcap")
    ledger = Ledger(tmp_path / "data" / "ledger.sqlite")
    ledger.take(capture_at(inbox, "Kitchen/monday.pcap"))
    return ledger


@pytest.mark.parametrize("name", ["kitchn", "KITCHEN", "ktichen", "kitchen2", "kichen"])
def test_a_slip_of_the_fingers_is_seen_through(name: str):
    assert did_you_mean(name, ["bath", "kitchen", "cellar"]) == "; did you mean 'kitchen'?"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("kitchen", ["kitchen", "kitchen2"]),
        ("kitchen", ["bath"]),
        ("kitchen", []),
        ("", ["kitchen"]),
    ],
)
def test_what_is_right_or_like_nothing_gets_no_suggestion(name: str, known: list[str]):
    assert did_you_mean(name, known) == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("kitchn/2024-01-15/capture_034567.pcap", "kitchen/2024-01-15/capture_034567.pcap"),
        ("kitchen/2024-01-15/capure_034567.pcap", "kitchen/2024-01-15/capture_034567.pcap"),
        ("kitchen/2024-01-20/capture_034572.pcpa", "kitchen/2024-01-20/capture_034572.pcap"),
    ],
)
def test_among_a_hundred_thousand_captures_the_nearest_is_found_soon(name: str, meant: str):
    """To compare each letter by letter took 20 s."""
    known = [
        f"kitchen/2024-01-{number % 28:02d}/capture_{number:06d}.pcap" for number in range(100_000)
    ]
    assert meant in known
    started = time.process_time()

    assert did_you_mean(name, known) == f"; did you mean {meant!r}?"
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "command",
    [
        ["purge", "--name", "kitchn"],
        ["verify", "--name", "kitchn"],
        ["refresh", "kitchn"],
        ["refresh", "--dry-run", "kitchn"],
        ["ingest", "--failed", "--name", "kitchn"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("ledger")
def test_every_command_suggests_an_experiment(terminal: Terminal, command: list[str]):
    assert terminal(*command) == Result(
        1,
        "",
        "mt-pipeline: no experiment kitchn; did you mean 'kitchen'? "
        "`mt-pipeline status` lists what there is\n",
    )


@pytest.mark.parametrize(
    "command", [["purge"], ["verify"], ["refresh"], ["refresh", "--dry-run"]], ids=" ".join
)
@pytest.mark.usefixtures("ledger")
def test_every_command_suggests_a_capture(terminal: Terminal, command: list[str]):
    assert terminal(*command, "--capture", "Kitchen/mondya.pcap") == Result(
        1,
        "",
        "mt-pipeline: no capture Kitchen/mondya.pcap; did you mean 'Kitchen/monday.pcap'? "
        "`mt-pipeline status` lists what there is\n",
    )


@pytest.mark.usefixtures("ledger")
def test_an_experiment_that_is_there_is_found_by_its_folder_too(terminal: Terminal):
    result = terminal("purge", "--name", "Kitchen", "--dry-run")

    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "MT_BACKENDS",
            "questdb,parqet",
            "MT_BACKENDS: Input should be some of questdb, parquet, each once; "
            "did you mean 'parquet'?",
        ),
        (
            "MT_ENRICHMENT",
            "oflline",
            "MT_ENRICHMENT: there is no provider 'oflline'; did you mean 'offline'? "
            "say `none`, or some of ",
        ),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_a_provider_and_a_back_end_are_suggested(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    value: str,
    says: str,
):
    monkeypatch.setenv(name, value)

    result = terminal("ingest", str(capture(tmp_path / "a.pcap")))

    assert result.code == 2
    assert result.err.startswith(f"mt-pipeline: {says}")
