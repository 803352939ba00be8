"""`mt-pipeline ingest`: files from anywhere, two at once, killed at any moment."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import dagster as dg
import psutil
import pytest

from mt_pipeline.backends.questdb.server_errors import ServerError
from mt_pipeline.captures.records import State
from mt_pipeline.cli.worker_count import FEW
from mt_pipeline.cli.workers import run_all
from mt_pipeline.defs.recovery import TERMINAL
from mt_pipeline.defs.sensors import tick
from mt_pipeline.settings import Settings
from mt_pipeline.system.processes import cores
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.everything import ODD_TIMES, odd_times
from mt_pipeline_tests.building.files import cut, timed, write_pcap
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.building.traffic import arp, dns
from mt_pipeline_tests.pipelines import (
    PACKETS,
    Lab,
    Result,
    capture,
    ended,
    environment,
    files_below,
    program,
    wrapper,
)
from mt_pipeline_tests.services import SECONDS, free_ports
from mt_pipeline_tests.terminals import OTHER_TERMINALS, Screen, screen

Terminal = Callable[..., Result]


def test_a_file_from_anywhere_is_linked_and_loaded_with_a_line(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    path = capture(tmp_path / "Outside One.pcap")

    result = terminal("ingest", path)

    assert result == Result(
        0, "Outside One/Outside One.pcap: 2 packets, 2 rows in packets_outside_one\n", ""
    )
    link = lab.inbox / "Outside One" / "Outside One.pcap"
    assert link.is_symlink()
    assert link.resolve() == path
    assert len(lab.rows("outside_one")) == PACKETS
    assert path.read_bytes() == link.read_bytes()


def test_what_a_terminal_did_shows_in_dagster(terminal: Terminal, lab: Lab, tmp_path: Path):
    terminal("ingest", capture(tmp_path / "shown.pcap"), "--name", "shown")

    [run] = lab.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "shown/shown.pcap"}))
    assert (run.job_name, run.status) == ("ingest_captures", dg.DagsterRunStatus.SUCCESS)
    assert lab.record("shown/shown.pcap").run == run.run_id
    assert lab.instance.has_dynamic_partition("captures", "shown/shown.pcap")


def test_a_second_time_it_is_the_same_capture(terminal: Terminal, lab: Lab, tmp_path: Path):
    path = capture(tmp_path / "same.pcap")
    first = terminal("ingest", path, "--name", "same")
    second = terminal("ingest", path, "--name", "same")

    assert (first.code, first) == (0, second)
    assert len(lab.rows("same")) == PACKETS
    assert list((lab.inbox / "same").iterdir()) == [lab.inbox / "same" / "same.pcap"]


def test_the_sensor_leaves_it_alone(terminal: Terminal, lab: Lab, tmp_path: Path):
    terminal("ingest", capture(tmp_path / "left.pcap"), "--name", "left alone")

    workspace = lab.workspace(settle_seconds=0)
    result = tick(dg.build_sensor_context(instance=lab.instance), workspace)

    asked = (
        [request.partition_key for request in result.run_requests]
        if isinstance(result, dg.SensorResult)
        else []
    )
    assert "left alone/left.pcap" not in asked


def test_a_folder_gives_all_its_captures_and_passes_over_the_rest(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    for name in ("a.pcap", "deep/b.pcap", ".hidden.pcap", "c.pcap.part"):
        capture(tmp_path / "archive" / name)
    (tmp_path / "archive" / "README.txt").write_text("what this is")

    result = terminal("ingest", tmp_path / "archive")

    assert result.code == 0
    assert (
        result.out
        == "archive/a.pcap: 2 packets, 2 rows in packets_archive\ndeep/b.pcap: 2 packets, 2 rows "
        "in packets_deep\n"
    )
    refused, *experiments = result.err.splitlines()
    assert refused.startswith("refused: ")
    assert "README.txt is not a capture" in refused
    assert experiments == ["new experiment archive: 1 capture", "new experiment deep: 1 capture"]
    record = lab.record("archive/README.txt")
    assert (record.state, record.error) == (State.REFUSED, refused.removeprefix("refused: "))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Write a usual data set: a folder for each app, in it one for each action."""
    for name in (
        "lamp app/on/1.pcap",
        "lamp app/on/2.pcap",
        "lamp app/0.pcap",
        "radio/off/by night/1.pcap",
    ):
        capture(tmp_path / "data set" / name)
    (tmp_path / "data set" / "docs").mkdir()
    (tmp_path / "data set" / "docs" / "README").write_text("no capture, so no experiment")
    return tmp_path / "data set"


def labels(lab: Lab, experiment: str) -> dict[str, set[str | None]]:
    """Read the labels of each capture, of its packets, its flows, and in the table of captures."""
    found: dict[str, set[str | None]] = {}
    with lab.database.connect() as connection:
        for table in (
            f"packets_{experiment}",
            f"flows_{experiment}",
            f"captures WHERE experiment = '{experiment}'",
        ):
            for key, label in connection.execute(
                f"SELECT DISTINCT capture, label FROM {table}"
            ).fetchall():
                found.setdefault(key, set()).add(label)
    return found


def test_folders_in_a_folder_are_experiments_and_those_below_are_labels(
    terminal: Terminal, lab: Lab, dataset: Path
):
    """They were once all one experiment, named after the folder; in the inbox they were several."""
    before = terminal("ingest", dataset, "--dry-run")
    nothing_yet = lab.workspace().ledger.records(experiment="lamp_app")
    result = terminal("ingest", dataset)

    planned = ["new experiment lamp_app: 3 captures", "new experiment radio: 1 capture"]
    assert (before.code, before.out.splitlines(), nothing_yet) == (0, planned, [])
    assert (result.code, result.err.splitlines()[1:]) == (0, planned)
    assert labels(lab, "lamp_app") == {
        "lamp app/on/1.pcap": {"on"},
        "lamp app/on/2.pcap": {"on"},
        "lamp app/0.pcap": {None},
    }
    assert labels(lab, "radio") == {"radio/off/by night/1.pcap": {"off/by night"}}
    assert (
        lab.inbox / "radio" / "off" / "by night" / "1.pcap"
    ).resolve() == dataset / "radio" / "off" / "by night" / "1.pcap"
    assert terminal("ingest", dataset).out == "4 of 4 captures are in already\n"


def test_a_name_puts_all_of_a_folder_into_one_experiment(
    terminal: Terminal, lab: Lab, dataset: Path
):
    result = terminal("ingest", dataset, "--name", "at once")

    assert (result.code, result.err.splitlines()[1:]) == (0, ["new experiment at_once: 4 captures"])
    assert labels(lab, "at_once") == {
        "at once/lamp app/on/1.pcap": {"lamp app/on"},
        "at once/lamp app/on/2.pcap": {"lamp app/on"},
        "at once/lamp app/0.pcap": {"lamp app"},
        "at once/radio/off/by night/1.pcap": {"radio/off/by night"},
    }


def test_the_same_folder_is_the_same_experiments_from_outside_and_in_the_inbox(
    terminal: Terminal, lab: Lab, dataset: Path
):
    inside = shutil.copytree(dataset, lab.inbox, dirs_exist_ok=True)
    of_inbox = {
        line
        for line in terminal("ingest", inside, "--dry-run").out.splitlines()
        if "lamp" in line or "radio" in line
    }
    for name in ("lamp app", "radio", "docs"):
        shutil.rmtree(inside / name)

    of_folder = {
        line
        for line in terminal("ingest", dataset, "--dry-run").out.splitlines()
        if "experiment" in line
    }

    assert of_folder == of_inbox != set()


def test_a_folder_named_like_a_capture_is_a_folder(terminal: Terminal, tmp_path: Path):
    capture(tmp_path / "folder.pcap" / "x.pcap")

    assert (
        terminal("ingest", tmp_path / "folder.pcap").out
        == "folder.pcap/x.pcap: 2 packets, 2 rows in packets_folder_pcap\n"
    )


def test_a_file_below_the_inbox_is_taken_where_it_lies(
    terminal: Terminal, lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    path = lab.put("lies here/deep/a.pcap")
    monkeypatch.chdir(path.parent)

    result = terminal("ingest", "../deep/a.pcap")

    assert result == Result(
        0, "lies here/deep/a.pcap: 2 packets, 2 rows in packets_lies_here\n", ""
    )
    assert not path.is_symlink()


def test_a_name_for_a_file_below_the_inbox_is_wrong_usage(terminal: Terminal, lab: Lab):
    path = lab.put("has one/a.pcap")

    result = terminal("ingest", path, "--name", "another")

    assert (result.code, result.out) == (2, "")
    assert "lies in the inbox, so its folder names its experiment" in result.err
    assert result.err.count("\n") == 1
    assert not (lab.inbox / "another").exists()


def test_another_file_of_the_same_name_is_refused_with_both_names(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    """Its record once became that of the other file, and the first capture was loaded again."""
    first, second = (
        capture(tmp_path / "1" / "a.pcap"),
        capture(tmp_path / "2" / "a.pcap", "another.example.com"),
    )
    terminal("ingest", first, "--name", "both")
    before = lab.record("both/a.pcap")

    result = terminal("ingest", second, "--name", "both")

    assert (result.code, result.out) == (1, "")
    assert (
        result.err
        == f"failed: {second}: the inbox has another {lab.inbox / 'both' / 'a.pcap'}; choose "
        "another --name, or rename the file\n"
    )
    assert lab.record("both/a.pcap") == before


def test_a_link_that_another_command_made_a_moment_before_is_not_taken_for_ours(
    terminal: Terminal, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The name was free when it was looked at, and then the other file was loaded under it."""
    ours, other, link = (
        capture(tmp_path / "raced.pcap"),
        capture(tmp_path / "other" / "raced.pcap"),
        lab.inbox / "raced" / "raced.pcap",
    )
    exists = os.path.lexists

    def sooner(path: Path) -> bool:
        found = exists(path)
        if path == link and not found:
            link.parent.mkdir()
            link.symlink_to(other)
        return found

    monkeypatch.setattr(os.path, "lexists", sooner)
    result = terminal("ingest", ours, "--name", "raced")

    assert (result.code, result.out) == (1, "")
    assert (
        result.err
        == f"failed: {ours}: the inbox has another {link}; choose another --name, or rename the "
        "file\n"
    )
    assert link.resolve() == other


@pytest.mark.parametrize(
    "name", ["../up", "a/../../b", "/abs/x", ".", "dots...", "new\nline", "x" * 1100]
)
def test_a_name_that_cannot_be_a_folder_is_refused(
    terminal: Terminal, lab: Lab, tmp_path: Path, name: str
):
    """Once it was the file that was to be renamed."""
    result = terminal("ingest", capture(tmp_path / "a.pcap"), "--name", name)

    assert (result.code, result.out) == (2, "")
    assert f"Invalid value for '--name': {name!r} cannot name an experiment: " in result.err
    assert "; choose another name (see " in result.err
    assert result.err.count("\n") == 1
    assert not (lab.data / "up").exists()


@pytest.mark.parametrize("name", ["-leading.pcap", 'it\'s "two" 100%.pcap', "Größe 測定.pcap"])
def test_odd_names_are_loaded(
    terminal: Terminal, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    capture(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    result = terminal("ingest", "--name", "odd names", "--", name)

    assert result == Result(0, f"odd names/{name}: 2 packets, 2 rows in packets_odd_names\n", "")
    assert len(lab.rows("odd_names", key=f"odd names/{name}")) == PACKETS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: record it again, or remove it."),
        (b"Dear diary", "is not a capture: it does not begin like a capture"),
    ],
)
def test_a_file_that_is_no_capture_is_refused_and_known_as_such(
    terminal: Terminal, lab: Lab, tmp_path: Path, content: bytes, reason: str
):
    path = tmp_path / "no.pcap"
    path.write_bytes(content)

    name = f"no captures {len(content)}"

    result = terminal("ingest", path, "--name", name)

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"refused: {path} {reason}")
    assert result.err.count("\n") == 1
    record = lab.record(f"{name}/no.pcap")
    assert (record.state, record.error) == (State.REFUSED, result.err.strip()[len("refused: ") :])
    assert (lab.inbox / record.key).resolve() == path


def test_what_is_refused_is_known_as_if_it_lay_in_the_watched_folder(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    """Regression: only who had typed the command was told."""
    odd = {"notes.txt": b"Dear diary", "empty.pcap": b"", "new\nline.pcap": GARBAGE}
    for name, content in odd.items():
        lab.put(f"put there/{name}", content)
        (tmp_path / "named so").mkdir(exist_ok=True)
        (tmp_path / "named so" / name).write_bytes(content)

    def refused(experiment: str) -> set[str]:
        records = lab.workspace().ledger.records(experiment=experiment)
        assert {record.state for record in records} <= {State.REFUSED}
        return {Path(record.key).name for record in records}

    def look() -> None:
        tick(dg.build_sensor_context(instance=lab.instance), lab.workspace(settle_seconds=0))

    assert terminal("ingest", tmp_path / "named so", "--dry-run").code == 1
    assert refused("named_so") == set()
    assert terminal("ingest", tmp_path / "named so").code == 1
    assert refused("named_so") == {"notes.txt", "empty.pcap", "new\\u000aline.pcap"}
    look()
    assert refused("named_so") == refused("put_there")
    assert lab.record("named so/notes.txt").error == lab.record(
        "put there/notes.txt"
    ).error.replace("put there", "named so")

    for name in odd:
        (tmp_path / "named so" / name).unlink()
    look()
    assert refused("named_so") == set(), "as a file that is removed from the watched folder"


def test_one_that_fails_does_not_hold_up_the_others(terminal: Terminal, lab: Lab, tmp_path: Path):
    good = [capture(tmp_path / name) for name in ("a.pcap", "c.pcap")]
    bad = tmp_path / "b.pcapng"
    bad.write_bytes(GARBAGE)

    result = terminal("ingest", good[0], bad, good[1], "--name", "mixed bag")

    assert result.code == 1
    assert result.out.splitlines() == [
        f"mixed bag/{name}.pcap: 2 packets, 2 rows in packets_mixed_bag" for name in "ac"
    ]
    assert result.err.startswith("failed: ")
    assert "b.pcapng" in result.err
    assert result.err.count("\n") == 1


def test_names_that_a_folder_may_not_have_are_said_and_make_it_a_failure(
    terminal: Terminal, tmp_path: Path
):
    """They were once passed over in silence."""
    capture(tmp_path / "unnameable" / "a.pcap")
    capture(tmp_path / "unnameable" / "new\nline.pcap")

    result = terminal("ingest", tmp_path / "unnameable")

    assert result.code == 1
    assert result.out == "unnameable/a.pcap: 2 packets, 2 rows in packets_unnameable\n"
    refused = (
        "refused: ./new\\u000aline.pcap cannot be taken: its name has control characters, or "
        "bytes that are not UTF-8. Rename it.\n"
    )
    assert result.err == f"{refused}new experiment unnameable: 1 capture\n"


def test_an_unreadable_file_is_said_and_does_not_hold_up_the_others(lab: Lab, tmp_path: Path):
    """Root may read all, so it gives that up first."""
    rights = "-dac_override,-dac_read_search"
    as_everybody = (
        [shutil.which("setpriv"), "--inh-caps", rights, "--bounding-set", rights, "--"]
        if os.geteuid() == 0
        else []
    )
    capture(tmp_path / "locked" / "open.pcap")
    capture(tmp_path / "locked" / "secret.pcap").chmod(0)

    result = ended(
        program("ingest", tmp_path / "locked", settings=lab.settings(), prefix=as_everybody)
    )

    assert result == Result(
        1,
        "locked/open.pcap: 2 packets, 2 rows in packets_locked\n",
        "refused: secret.pcap cannot be read: make it readable for this user.\nnew experiment "
        "locked: 1 capture\n",
    )


def test_nothing_to_ingest_is_wrong_usage(terminal: Terminal, tmp_path: Path):
    result = terminal("ingest", tmp_path)

    assert result.code == 2
    assert f"no capture in {tmp_path}" in result.err


def test_a_filter_makes_rows_of_what_matches(terminal: Terminal, lab: Lab, tmp_path: Path):
    path = write_pcap(tmp_path / "a.pcap", timed([*arp(), *dns()]))

    result = terminal("ingest", path, "--name", "sifted", "--filter", "arp")

    assert result == Result(0, "sifted/a.pcap: 2 packets, 2 rows in packets_sifted\n", "")
    assert lab.rows("sifted", ("protocol",)) == [("arp",)] * 2


def test_a_typo_in_a_filter_is_wrong_usage_before_anything_is_done(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    result = terminal(
        "ingest", capture(tmp_path / "a.pcap"), "--name", "typo", "--filter", "ip.adr == 1"
    )

    assert (result.code, result.out) == (2, "")
    sentence, *below = result.err.splitlines()
    assert sentence.startswith(
        "mt-pipeline: display filter not understood: 'ip.adr == 1'. tshark: "
    )
    assert sentence.endswith(" (see `mt-pipeline ingest --help`)")
    assert below == ["    ip.adr == 1", "    ^~~~~~"]
    assert not (lab.inbox / "typo").exists()


def test_a_tshark_that_is_not_there_is_one_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("MT_TSHARK", "/nowhere/tshark")

    result = terminal("ingest", capture(tmp_path / "a.pcap"))

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(
        "mt-pipeline: MT_TSHARK: tshark not found as '/nowhere/tshark'; install it: "
    )
    assert result.err.count("\n") == 1


def test_experiments_that_fold_to_one_are_told(terminal: Terminal, lab: Lab):
    lab.put("Fold Me/a.pcap")
    lab.put("fold-me/a.pcap")

    result = terminal("ingest", lab.inbox / "Fold Me", lab.inbox / "fold-me")

    assert result.code == 0
    assert (
        result.err
        == "note: Fold Me and fold-me share the table packets_fold_me\nnew experiment fold_me: 2 "
        "captures\n"
    )
    assert len(lab.rows("fold_me")) == 2 * PACKETS


def test_skipped_packets_and_a_cut_are_in_the_line(terminal: Terminal, tmp_path: Path):
    odd_times(tmp_path / "late.pcapng", ODD_TIMES["before 1970"])
    torn = cut(write_pcap(tmp_path / "torn.pcap", timed(dns())), 20)

    assert (
        "late.pcapng: 2 packets, 1 rows in packets_worn, 1 skipped: "
        in terminal("ingest", tmp_path / "late.pcapng", "--name", "worn").out
    )
    assert (
        terminal("ingest", torn, "--name", "worn").out
        == "worn/torn-cut.pcap: 1 packets, 1 rows in packets_worn, cut inside its last packet\n"
    )


def test_two_at_once_on_one_capture_leave_it_once(lab: Lab):
    path = lab.put("two at once/a.pcap")
    settings = lab.settings()

    both = [program("ingest", path, settings=settings) for _ in range(2)]
    result = [ended(process) for process in both]

    assert (
        result
        == [Result(0, "two at once/a.pcap: 2 packets, 2 rows in packets_two_at_once\n", "")] * 2
    )
    assert len(lab.rows("two_at_once")) == PACKETS


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bulk(tmp_path_factory.mktemp("large") / "large.pcap", 30_000)


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=60)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def wait_until(holds: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["tshark", "load"])
def test_a_kill_at_any_moment_is_made_good_by_the_next_ingest(
    lab: Lab, large: Path, tmp_path: Path, moment: str
):
    experiment = f"killed_at_{moment}"
    key, temporary = f"{experiment}/large.pcap", tmp_path / "tmp"
    temporary.mkdir()
    (lab.inbox / experiment).mkdir()
    shutil.copy(large, lab.inbox / key)
    settings = lab.settings()
    process = program(
        "ingest",
        lab.inbox / key,
        settings=settings,
        env=environment(settings, TMPDIR=str(temporary)),
    )
    try:
        if moment == "tshark":
            wait_until(
                lambda: [
                    file
                    for file in files_below(lab.data / "tshark_json" / experiment)
                    if file.endswith(".part")
                ],
                process,
            )
        else:
            wait_until(
                lambda: [
                    file
                    for file in files_below(lab.data / "enrichment" / experiment)
                    if not file.endswith(".part")
                ],
                process,
            )
        children = below(process)
    finally:
        process.kill()
    result = ended(process)

    assert result.code == -signal.SIGKILL
    assert all_gone(children)
    assert lab.record(key).state is State.RUNNING
    again = ended(program("ingest", lab.inbox / key, settings=settings))
    assert again == Result(0, f"{key}: 30,000 packets, 30,000 rows in packets_{experiment}\n", "")
    assert [number for (number,) in lab.rows(experiment)] == list(range(1, 30_001))
    assert lab.inputs(experiment) == {lab.record(key).documents}


def test_a_kill_is_made_good_by_the_sensor(lab: Lab, tmp_path: Path):
    path = lab.put("killed_and_seen/a.pcap")
    slow = wrapper(tmp_path / "tshark", f"touch {tmp_path}/reads\nexec sleep 60")
    settings = lab.settings()
    process = program(
        "ingest", path, settings=settings, env=environment(settings, MT_TSHARK=str(slow))
    )
    try:
        wait_until((tmp_path / "reads").exists, process)
    finally:
        process.kill()
    ended(process)

    context = dg.build_sensor_context(instance=lab.instance)
    result = tick(context, lab.workspace(settle_seconds=0))

    assert isinstance(result, dg.SensorResult)
    assert "killed_and_seen/a.pcap" in [request.partition_key for request in result.run_requests]
    assert lab.run("killed_and_seen/a.pcap").success
    assert len(lab.rows("killed_and_seen")) == PACKETS


def test_ctrl_c_ends_it_and_the_capture_says_that_it_was_cancelled(lab: Lab, tmp_path: Path):
    """It once took effect only when tshark wrote something.

    Dagster ended its own run alone, so the next capture began.
    """
    path = lab.put("interrupted/a.pcap")
    slow = wrapper(tmp_path / "tshark", f"touch {tmp_path}/reads\nexec sleep 60")
    settings = lab.settings()
    next_one = lab.put("interrupted/b.pcap")
    process = program(
        "ingest", path, next_one, settings=settings, env=environment(settings, MT_TSHARK=str(slow))
    )
    try:
        wait_until((tmp_path / "reads").exists, process)
        time.sleep(1)  # until all wait for tshark
        children = below(process)
        process.send_signal(signal.SIGINT)
        result = ended(process)
    finally:
        process.kill()

    waits = "stopping: waits for 1 capture to be noted as cancelled; Ctrl-C again ends it at once\n"
    assert result == Result(130, "", f"{waits}mt-pipeline: cancelled\n")
    assert all_gone(children)
    assert lab.workspace().ledger.get("interrupted/b.pcap") is None
    assert (lab.record("interrupted/a.pcap").state, lab.record("interrupted/a.pcap").error) == (
        State.FAILED,
        "interrupted/a.pcap: its run was cancelled; launch it again",
    )
    [run] = lab.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "interrupted/a.pcap"}))
    assert run.is_finished
    assert not [file for file in files_below(lab.data) if file.endswith(".part")]
    assert ended(program("ingest", path, settings=settings)).code == 0


def archive(folder: Path, captures: int) -> Path:
    """Write a folder of small captures; one of them is damaged."""
    for number in range(captures):
        capture(folder / f"{number % 3}" / f"{number:02}.pcap", f"host{number}.example.com")
    (folder / "0" / "00.pcap").write_bytes(GARBAGE)
    return folder


@pytest.fixture(scope="module")
def ingested(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Ingest an archive, in several processes if there are several cores."""
    folder = archive(tmp_path_factory.mktemp("archives") / "archive of 25", 25)
    return folder, ended(program("ingest", folder, "--name", folder.name, settings=lab.settings()))


def test_an_archive_has_a_line_for_each_capture_and_a_bad_one_costs_only_its_own(
    ingested: tuple[Path, Result], lab: Lab
):
    folder, result = ingested
    keys = [f"archive of 25/{file.relative_to(folder)}" for file in sorted(folder.rglob("*.pcap"))]

    assert result.code == 1
    assert sorted(result.out.splitlines()) == [
        f"{key}: 2 packets, 2 rows in packets_archive_of_25" for key in keys[1:]
    ]
    planned, failed = result.err.splitlines()
    assert planned == "new experiment archive_of_25: 25 captures"
    assert failed.startswith("failed: ")
    assert keys[0] in failed
    assert len(lab.rows("archive_of_25")) == 24 * PACKETS


def test_captures_of_an_archive_share_runs(ingested: tuple[Path, Result], lab: Lab):
    runs = {
        record.run
        for record in lab.workspace().ledger.records()
        if record.experiment == "archive_of_25"
    }

    assert len(runs) == ceil(25 / max(FEW, ceil(25 / cores())))
    assert all(lab.instance.get_run_by_id(run).is_finished for run in runs)


def test_of_a_folder_only_what_is_missing_is_done_again(
    ingested: tuple[Path, Result], terminal: Terminal, lab: Lab
):
    folder, _ = ingested
    before = lab.record("archive of 25/1/01.pcap")
    capture(folder / "0" / "00.pcap")
    capture(folder / "2" / "new.pcap")

    result = terminal("ingest", folder, "--name", folder.name)

    assert result == Result(
        0,
        "24 of 26 captures are in already\n"
        "archive of 25/0/00.pcap: 2 packets, 2 rows in packets_archive_of_25\n"
        "archive of 25/2/new.pcap: 2 packets, 2 rows in packets_archive_of_25\n",
        "experiment archive_of_25: 2 captures\n",
    )
    assert lab.record("archive of 25/1/01.pcap") == before
    assert terminal("ingest", folder, "--name", folder.name) == Result(
        0, "26 of 26 captures are in already\n", ""
    )


def test_a_file_of_a_folder_that_changed_is_done_again(terminal: Terminal, tmp_path: Path):
    for name in "ab":
        capture(tmp_path / "changing" / f"{name}.pcap")
    terminal("ingest", tmp_path / "changing")
    capture(tmp_path / "changing" / "b.pcap", "changed.example.com")

    result = terminal("ingest", tmp_path / "changing")

    assert (
        result.out == "1 of 2 captures are in already\nchanging/b.pcap: 2 packets, 2 rows in "
        "packets_changing\n"
    )
    assert "already" not in terminal("ingest", tmp_path / "changing", "--filter", "dns").out, (
        "under another filter none of them is in"
    )


def test_two_files_of_one_name_in_one_command_are_not_taken_for_one(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    first, second = (
        capture(tmp_path / "1" / "a.pcap"),
        capture(tmp_path / "2" / "a.pcap", "another.example.com"),
    )

    result = terminal("ingest", first, second, first, "--name", "twins")

    assert (result.code, result.out) == (1, "twins/a.pcap: 2 packets, 2 rows in packets_twins\n")
    assert (
        result.err
        == f"failed: {second}: the inbox has another {lab.inbox / 'twins' / 'a.pcap'}; choose "
        "another --name, or rename the file\n"
    )


def test_what_failed_is_done_again_of_one_experiment_or_of_all(terminal: Terminal, lab: Lab):
    for experiment in ("mended one", "mended-two"):
        lab.put(f"{experiment}/a.pcap", GARBAGE)
        assert terminal("ingest", lab.inbox / experiment).code == 1
        lab.put(f"{experiment}/a.pcap")

    assert terminal("ingest", "--failed", "--name", "mended one") == Result(
        0, "mended one/a.pcap: 2 packets, 2 rows in packets_mended_one\n", ""
    )
    assert terminal("ingest", "--failed", "--name", "mended one") == Result(
        0, "no capture of mended one has failed\n", ""
    )
    assert (
        "mended-two/a.pcap: 2 packets, 2 rows in packets_mended_two\n"
        in terminal("ingest", "--failed").out
    )


def test_what_failed_and_is_gone_is_said(terminal: Terminal, lab: Lab):
    path = lab.put("gone for good/a.pcap", GARBAGE)
    terminal("ingest", path)
    path.unlink()

    result = terminal("ingest", "--failed", "--name", "gone for good")

    assert result == Result(
        1, "", "refused: gone for good/a.pcap is not in the inbox any more: copy it there again.\n"
    )


def test_a_capture_of_a_folder_that_goes_while_it_is_read_is_said_and_fails_nothing(
    terminal: Terminal, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("1.pcap", "2.pcap"):
        lab.put(f"goes/{name}")
    monkeypatch.setenv(
        "MT_TSHARK",
        str(wrapper(tmp_path / "tshark", f'rm -f {lab.inbox}/goes/1.pcap; exec "$TSHARK" "$@"')),
    )

    result = terminal("ingest", lab.inbox / "goes")
    named = terminal("ingest", lab.inbox / "goes" / "2.pcap")

    assert result.out == "goes/2.pcap: 2 packets, 2 rows in packets_goes\n"
    assert (
        result.err
        == "new experiment goes: 2 captures\ngone: goes/1.pcap was deleted before it was read; "
        "nothing of it is stored\n"
    )
    assert (result.code, named.code) == (0, 0)


needs_two_cores = pytest.mark.skipif(cores() < 2, reason="one core works alone")


@needs_two_cores
def test_a_capture_that_kills_its_worker_twice_has_failed_and_the_others_are_in(
    lab: Lab, tmp_path: Path
):
    folder = archive(tmp_path / "killing", 14)
    (folder / "1" / "04.pcap").rename(folder / "1" / "deadly.pcap")
    deadly = wrapper(
        tmp_path / "tshark", 'case "$*" in *deadly*) kill -KILL $PPID ;; esac\nexec "$TSHARK" "$@"'
    )
    settings = lab.settings()

    result = ended(
        program(
            "ingest",
            folder,
            "--name",
            "killing",
            settings=settings,
            env=environment(settings, MT_TSHARK=str(deadly)),
        )
    )

    assert result.code == 1
    assert len(result.out.splitlines()) == 12
    assert (
        "failed: killing/1/deadly.pcap: 2 runs ended without a result, killed or out of memory."
        in result.err
    )
    assert result.err.count("failed: ") == 2
    assert lab.instance.get_run_by_id(lab.record("killing/1/deadly.pcap").run).is_finished


def test_workers_end_if_what_they_work_with_does_not_open(lab: Lab):
    before, hired = psutil.Process().children(), []

    @contextmanager
    def broken() -> Iterator[None]:
        hired.extend(child for child in psutil.Process().children() if child not in before)
        raise ServerError("its port is in use")
        yield

    with pytest.raises(ServerError, match="its port is in use"):
        run_all(
            lab.workspace(),
            lab.instance,
            iter([["never/taken.pcap"]]),
            display_filter=None,
            workers=2,
            services=broken(),
        )

    assert len(hired) == 2
    assert all_gone(hired)


@contextmanager
def two_at_work(folder: Path, settings: Settings, *, slow: str) -> Iterator[subprocess.Popen[str]]:
    """Ingest a folder of 64 captures, and wait until two workers are at a slow one.

    A capture takes a minute if its tshark command matches `slow`.
    """
    for number in range(64):
        capture(folder / f"{number:02}.pcap")
    at = folder.with_name("slow")
    tshark = wrapper(
        folder.with_name("tshark"),
        f'case "$*" in {slow}) echo x >> {at}; exec sleep 60 ;; esac\nexec "$TSHARK" "$@"',
    )
    process = program(
        "ingest", folder, settings=settings, env=environment(settings, MT_TSHARK=str(tshark))
    )
    try:
        wait_until(lambda: at.exists() and at.read_text() == "x\n" * 2, process)
        yield process
    finally:
        process.kill()


@needs_two_cores
def test_ctrl_c_ends_all_workers_and_the_same_command_goes_on(lab: Lab, tmp_path: Path):
    folder, settings = tmp_path / "stopped", lab.settings()
    with two_at_work(folder, settings, slow="*/28.pcap*|*/60.pcap*") as process:
        children = below(process)
        process.send_signal(signal.SIGINT)
        result = ended(process)

    assert result.code == 130
    _, waits, last = result.err.splitlines()
    assert re.fullmatch(
        r"stopping: waits for \d+ captures to be noted as cancelled; Ctrl-C again ends it at once",
        waits,
    )
    assert last == "mt-pipeline: cancelled"
    assert all_gone(children)
    done = result.out.splitlines()
    assert 0 < len(done) < 64
    again = ended(program("ingest", folder, settings=settings))
    assert again.code == 0
    assert again.out.splitlines()[0] == f"{len(done)} of 64 captures are in already"
    assert len(again.out.splitlines()) == 1 + 64 - len(done)
    assert len(lab.rows("stopped")) == 64 * PACKETS


@needs_two_cores
def test_a_terminal_that_is_killed_takes_its_workers_with_it(lab: Lab, tmp_path: Path):
    with two_at_work(tmp_path / "orphans", lab.settings(), slow="*") as process:
        children = below(process)
    ended(process)

    assert all_gone(children)
    tick(dg.build_sensor_context(instance=lab.instance), lab.workspace(settle_seconds=0))
    going = [run for run in lab.instance.get_runs() if TERMINAL in run.tags and not run.is_finished]
    assert going == [], "nobody else would ever end them"


@contextmanager
def watched(
    arguments: Sequence[str | Path], settings: Settings, gate: Path, *, columns: int = 120
) -> Iterator[tuple[Screen, subprocess.Popen[str]]]:
    """Ingest on a terminal, with a tshark that waits for a file; stdout is a pipe.

    For a capture `last_of_…` it waits for `<gate>.last`.
    """
    slow = wrapper(
        gate.with_name("tshark"),
        f'case "$*" in *last_of_*) gate={gate}.last;; *) gate={gate};; esac\n'
        'until [ -e "$gate" ]; do sleep 0.1; done\nexec "$TSHARK" "$@"',
    )
    own = environment(settings, MT_TSHARK=str(slow), TERM="xterm-256color")
    with screen(columns=columns) as terminal:
        process = program(
            "ingest",
            *arguments,
            settings=settings,
            env={name: value for name, value in own.items() if name not in OTHER_TERMINALS},
            stderr=terminal.device,
            start_new_session=True,
        )
        terminal.close()
        try:
            yield terminal, process
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("captures", [1, 12])
def test_a_terminal_shows_what_is_done_from_the_beginning_to_the_end(
    lab: Lab, tmp_path: Path, captures: int
):
    """Nothing was shown of a single capture, because Dagster had stderr during its run.

    Before the run, nothing was shown of many captures, either.
    """
    folder = tmp_path / "watched"
    paths = [capture(folder / f"{number}_of_{captures}.pcap") for number in range(captures)]
    if captures > 1:
        # A large one, as these are not loaded together with others, which end before it.
        last = folder / f"last_of_{captures}.pcap"
        paths[-1] = write_pcap(last, timed([*dns(), *[arp()[0] + bytes(250_000)] * 25]))
    left = r"captures +\S+ +\d+/12 +\d+\.\d/s +\d+ \w+.* left"

    with watched(paths, lab.settings(), tmp_path / "gate") as (terminal, process):
        assert terminal.shows(r"starting", seconds=60)
        assert terminal.shows(r"reading \S+\.pcap .* \d+ s\n"), "while the run goes on"
        assert terminal.shows(r"reading \S+\.pcap .* \d+ s\n", after=len(terminal.text)), (
            "it is drawn again, as time goes on"
        )
        (tmp_path / "gate").touch()
        assert captures == 1 or terminal.shows(left), "while the last one waits"
        (tmp_path / "gate.last").touch()
        shown = terminal.ends()
        out = process.stdout.read()

    assert process.wait() == 0, (out, shown)
    lines = re.findall(r"[\d,]+ packets, [\d,]+ rows in packets_", out)
    assert len(lines) == captures, "lines go to stdout, which is no terminal"
    assert "rows in packets_" not in shown


@needs_two_cores
def test_ctrl_c_twice_ends_it_at_once_and_the_next_ingest_makes_it_good(lab: Lab, tmp_path: Path):
    """Its workers are stopped, so they never note anything: it would wait for half a minute."""
    paths = [capture(tmp_path / f"{number}.pcap") for number in range(FEW + 1)]
    settings = lab.settings()
    with watched([*paths, "--name", "ended at once"], settings, tmp_path / "gate") as (
        terminal,
        process,
    ):
        assert terminal.shows(r"reading \S+ at once")
        children = below(process)
        for worker in psutil.Process(process.pid).children():
            worker.suspend()
        process.send_signal(signal.SIGINT)
        assert terminal.shows(
            r"stopping: waits for \d+ captures to be noted as cancelled; Ctrl-C again ends it at "
            r"once"
        )
        process.send_signal(signal.SIGINT)
        shown = terminal.ends()
        assert process.wait(60) == 130

    assert "mt-pipeline: ended at once; the same command takes up what was at work" in shown
    assert terminal.sent.rfind(b"\x1b[?25h") > terminal.sent.rfind(b"\x1b[?25l"), (
        "the cursor is there again"
    )
    assert all_gone(children)
    assert ended(program("ingest", *paths, "--name", "ended at once", settings=settings)).code == 0
    assert len(lab.rows("ended_at_once")) == len(paths) * PACKETS


@pytest.mark.parametrize("most", [40, 100])
def test_too_few_open_files_are_said_as_that(lab: Lab, tmp_path: Path, most: int):
    """With 40 QuestDB cannot start, with 100 it cannot open its tables: its log was shown."""
    ports = free_ports(2)
    settings = lab.settings(
        data_dir=tmp_path / "data",
        questdb_host=None,
        questdb_http_port=ports[0],
        questdb_pg_port=ports[1],
    )

    limited = ["prlimit", f"--nofile={most}"]
    result = ended(
        program("ingest", capture(tmp_path / "a.pcap"), settings=settings, prefix=limited)
    )

    assert (result.code, result.out) == (1, "")
    assert re.search(
        r"^(mt-pipeline|failed: a/a\.pcap): QuestDB cannot (start|use its files): it has as many "
        r"files open as it may: raise the limit with `ulimit -n 65536`",
        result.err,
    )
    assert result.err.count("\n") == 1


def test_without_a_questdb_it_starts_one_for_as_long_as_it_takes(lab: Lab, tmp_path: Path):
    ports = free_ports(2)
    settings = lab.settings(
        data_dir=tmp_path / "data",
        questdb_host=None,
        questdb_http_port=ports[0],
        questdb_pg_port=ports[1],
    )

    result = ended(program("ingest", capture(tmp_path / "alone.pcap"), settings=settings))

    assert result == Result(0, "alone/alone.pcap: 2 packets, 2 rows in packets_alone\n", "")
    assert (tmp_path / "data" / "questdb" / "db").is_dir()
    assert not (tmp_path / "data" / "questdb" / "server.json").exists()
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
