"""`mt-pipeline purge`: what it says, what it takes away, and what it leaves."""

import fcntl
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from mt_pipeline.backends.loads import Load
from mt_pipeline.captures.records import State
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline.files import report_file
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline_tests.backends.questdb.parts import Threads, packets
from mt_pipeline_tests.backends.questdb.parts import files_of as files_of_packets
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.pipelines import PACKETS, Lab, Result, capture, files_below
from mt_pipeline_tests.services import SECONDS, eventually

Terminal = Callable[..., Result]


def loaded(terminal: Terminal, lab: Lab, *keys: str) -> list[Path]:
    paths = [lab.put(key) for key in keys]
    assert terminal("ingest", *paths).code == 0
    return paths


def files_of(lab: Lab, experiment: str) -> list[str]:
    return [
        file
        for stage in ("tshark_json", "endpoints", "enrichment")
        for file in files_below(lab.data / stage / experiment)
    ]


def runs_of(lab: Lab, key: str) -> int:
    return len(lab.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": key})))


def views(lab: Lab) -> set[str]:
    with lab.database.connect() as connection:
        return {name for (name,) in connection.execute("SELECT view_name FROM views()").fetchall()}


def asked_of(lab: Lab, query: str) -> list[tuple]:
    with lab.database.connect() as connection:
        connection.execute("SELECT wait_wal_table('captures')")
        return connection.execute(query).fetchall()


def looked(lab: Lab) -> list[str | None]:
    """Return what the sensor asks for now."""
    workspace = lab.workspace(settle_seconds=0)
    result = tick(dg.build_sensor_context(instance=lab.instance), workspace)
    return (
        [request.partition_key for request in result.run_requests]
        if isinstance(result, dg.SensorResult)
        else []
    )


def test_one_capture_of_an_experiment_goes_and_the_others_stay(terminal: Terminal, lab: Lab):
    gone, stays = loaded(terminal, lab, "purge one/a.pcap", "purge one/b.pcap")
    others = files_of(lab, "purge_one")

    output = terminal("purge", "--capture", "purge one/a.pcap", "--yes")

    assert (output.code, output.err) == (0, "")
    assert output.out.splitlines()[0].startswith("purge one/a.pcap: 2 rows, ")
    assert output.out.splitlines()[-1].startswith("purge one/a.pcap: 2 rows and ")
    assert lab.rows("purge_one", ("capture",)) == [("purge one/b.pcap",)] * PACKETS
    assert asked_of(lab, "SELECT DISTINCT capture FROM flows_purge_one") == [("purge one/b.pcap",)]
    assert asked_of(
        lab,
        "SELECT state, rows, flows, sha256 FROM captures "
        "WHERE capture = 'purge one/a.pcap' ORDER BY ts DESC LIMIT 1",
    ) == [("purged", None, None, None)]
    assert len(files_of(lab, "purge_one")) == len(others) / 2
    assert [
        lab.instance.has_dynamic_partition("captures", key)
        for key in ("purge one/a.pcap", "purge one/b.pcap")
    ] == [False, True]
    assert (runs_of(lab, "purge one/a.pcap"), runs_of(lab, "purge one/b.pcap")) == (0, 1)
    assert (lab.record("purge one/a.pcap").state, lab.record("purge one/b.pcap").state) == (
        State.PURGED,
        State.DONE,
    )
    assert gone.read_bytes() == stays.read_bytes()


def test_a_whole_experiment_goes_with_its_view_and_another_stays(terminal: Terminal, lab: Lab):
    loaded(terminal, lab, "purge all/a.pcap", "purge all/deep/b.pcap", "purge not/a.pcap")

    output = terminal("purge", "--name", "purge_all", "--yes")

    lines = output.out.splitlines()
    assert lines[2].startswith("2 captures, 4 rows, ")
    assert lines[2].endswith(" bytes; the captures themselves stay")
    assert [line.partition(":")[0] for line in lines[3:]] == [
        "purge all/a.pcap",
        "purge all/deep/b.pcap",
    ]
    assert {"packets_purge_not", "flows_purge_not"} <= views(lab)
    assert views(lab).isdisjoint({"packets_purge_all", "flows_purge_all"})
    assert files_of(lab, "purge_all") == []
    assert len(lab.rows("purge_not")) == PACKETS
    assert sorted(file.name for file in (lab.inbox / "purge all").rglob("*.pcap")) == [
        "a.pcap",
        "b.pcap",
    ]
    for table in ("captured_packets", "flows"):
        assert asked_of(
            lab, f"SELECT count() FROM {table} WHERE NOT gone AND experiment = 'purge_all'"
        ) == [(0,)]


def test_the_name_may_be_that_of_the_folder(terminal: Terminal, lab: Lab):
    loaded(terminal, lab, "Purge By Folder/a.pcap")

    assert terminal("purge", "--name", "Purge By Folder", "--yes").code == 0

    assert lab.record("Purge By Folder/a.pcap").state is State.PURGED


def test_it_shows_what_goes_and_asks_first(
    terminal: Terminal, lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    loaded(terminal, lab, "purge asks/a.pcap")
    before = files_of(lab, "purge_asks")

    for answer in ("n\n", ""):
        answers(monkeypatch, answer)
        output = terminal("purge", "--capture", "purge asks/a.pcap")
        assert output.code == 130
        assert output.out.startswith("purge asks/a.pcap: 2 rows, ")
        assert "Remove this?" in output.out
        assert output.err.strip() == "mt-pipeline: cancelled"
    assert files_of(lab, "purge_asks") == before
    assert len(lab.rows("purge_asks")) == PACKETS

    answers(monkeypatch, "y\n")
    assert terminal("purge", "--capture", "purge asks/a.pcap").code == 0
    assert files_of(lab, "purge_asks") == []


def answers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_linked_capture_keeps_its_link_and_its_file(terminal: Terminal, lab: Lab, tmp_path: Path):
    path = capture(tmp_path / "a.pcap")
    terminal("ingest", path, "--name", "purge link")

    assert terminal("purge", "--name", "purge_link", "--yes").code == 0

    assert path.exists()
    assert (lab.inbox / "purge link" / "a.pcap").resolve() == path


@pytest.mark.parametrize(
    "which", [["--capture", "no/such.pcap"], ["--name", "no_such"]], ids=" ".join
)
def test_what_is_not_there_is_one_line(terminal: Terminal, which: list[str]):
    output = terminal("purge", *which, "--yes")

    assert (output.code, output.out) == (1, "")
    assert which[1] in output.err
    assert output.err.endswith("`mt-pipeline status` lists what there is\n")


def test_a_purged_capture_stays_out_until_it_changes_or_is_ingested_by_hand(
    terminal: Terminal, lab: Lab
):
    kept, changed = loaded(terminal, lab, "purge out/kept.pcap", "purge out/changed.pcap")
    terminal("purge", "--name", "purge_out", "--yes")

    assert not [key for key in looked(lab) if str(key).startswith("purge out")]
    capture(changed, "changed.example.com")
    assert [key for key in looked(lab) if str(key).startswith("purge out")] == [
        "purge out/changed.pcap"
    ]
    assert terminal("ingest", kept).code == 0
    assert lab.rows("purge_out", ("capture",)) == [("purge out/kept.pcap",)] * PACKETS


def test_purging_again_finds_nothing_left_and_does_no_harm(terminal: Terminal, lab: Lab):
    loaded(terminal, lab, "purge twice/a.pcap")
    terminal("purge", "--name", "purge_twice", "--yes")

    output = terminal("purge", "--name", "purge_twice", "--yes")

    assert output.code == 0
    assert output.out.splitlines()[-1] == "purge twice/a.pcap: 0 rows and 0 bytes removed"


def test_a_capture_that_was_never_loaded_can_be_purged(terminal: Terminal, lab: Lab):
    bad = lab.put("purge failed/bad.pcapng", GARBAGE)
    assert terminal("ingest", bad).code == 1

    assert terminal("purge", "--name", "purge_failed", "--yes").code == 0

    assert lab.record("purge failed/bad.pcapng").state is State.PURGED
    assert bad.exists()
    assert runs_of(lab, "purge failed/bad.pcapng") == 0


def test_the_runs_of_several_captures_stay(terminal: Terminal, lab: Lab):
    lab.put("purge range/a.pcap")
    lab.put("purge range/b.pcap")
    ran = lab.run("purge range/a.pcap", "purge range/b.pcap")

    assert terminal("purge", "--capture", "purge range/a.pcap", "--yes").code == 0

    assert lab.instance.get_run_by_id(ran.run_id) is not None
    assert lab.rows("purge_range", ("capture",)) == [("purge range/b.pcap",)] * PACKETS


def test_the_report_goes_with_the_last_capture_of_its_experiment(terminal: Terminal, lab: Lab):
    loaded(terminal, lab, "purge report/a.pcap", "purge report/b.pcap")
    path = report_file(lab.data, "purge_report")
    path.parent.mkdir(exist_ok=True)
    assert terminal("report", "purge_report", "--output", path).code == 0
    lab.instance.add_dynamic_partitions("experiments", ["purge_report"])

    assert terminal("purge", "--capture", "purge report/a.pcap", "--yes").code == 0
    assert (path.exists(), lab.instance.has_dynamic_partition("experiments", "purge_report")) == (
        True,
        True,
    )
    assert terminal("purge", "--capture", "purge report/b.pcap", "--yes").code == 0
    assert (path.exists(), lab.instance.has_dynamic_partition("experiments", "purge_report")) == (
        False,
        False,
    )
    assert terminal("report", "purge_report").code == 1


def test_a_dry_run_says_what_would_go_and_removes_nothing(terminal: Terminal, lab: Lab):
    loaded(terminal, lab, "purge dry/a.pcap")

    output = terminal("purge", "--name", "purge dry", "--dry-run")

    assert (output.code, output.err) == (0, "")
    assert output.out.splitlines()[-1].startswith("1 captures, 2 rows, ")
    assert len(lab.rows("purge_dry")) == PACKETS
    assert lab.record("purge dry/a.pcap").state is State.DONE


def test_a_view_stays_if_a_capture_of_its_experiment_is_loaded_while_the_last_one_is_purged(
    lab: Lab,
):
    """It was dropped during a load that had just found it, so no view had the rows."""
    key, begun, go_on = "purged meanwhile/new.pcap", threading.Event(), threading.Event()
    [backend] = lab.workspace().backends()

    def held_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begun.set()
        assert go_on.wait(SECONDS)
        yield from batches

    def load() -> None:
        with (
            files_of_packets(packets(5)) as files,
            closing(rows(files, capture=key, experiment="purged_meanwhile")) as of_packets,
        ):
            of_flows = flows(files, capture=key, experiment="purged_meanwhile")
            backend.load([Load(key, "purged_meanwhile", held_up(of_packets), of_flows)])

    def is_waited_for() -> bool:
        """Say whether somebody waits for all loads to end."""
        with lab.workspace().loading_lock.gate.open("wb") as gate:
            try:
                fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    with Threads() as threads:
        threads.start(load)
        assert begun.wait(SECONDS)
        forgetting = threads.start(backend.forget, "purged_meanwhile")
        assert eventually(lambda: not forgetting.is_alive() or is_waited_for())
        go_on.set()

    assert len(lab.rows("purged_meanwhile")) == 5
