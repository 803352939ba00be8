"""Recovery checks before it acts: it ends no run that is alive, and requests no capture twice.

The run is another process. It goes on at the moment when the sensor asks Dagster for its runs.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import State
from mt_pipeline.cli.worker_count import FEW
from mt_pipeline.defs.recovery import START_SECONDS, TERMINAL
from mt_pipeline.defs.runs import BY_SENSOR
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.system.processes import cores
from mt_pipeline_tests.defs.test_sensors import Watch, ago
from mt_pipeline_tests.defs.working import SECONDS, working
from mt_pipeline_tests.pipelines import PACKETS, Lab, capture, environment, program
from mt_pipeline_tests.services import eventually


@pytest.fixture
def watch(lab: Lab, tmp_path: Path) -> Watch:
    return Watch(lab, tmp_path / "data", settle=0)


def after_runs_were_listed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]
) -> None:
    """Let something happen once, right after a sensor has asked Dagster which runs are going on."""
    listed, once = watch.instance.get_runs, [happens]

    def get_runs(*args: object, **named: object) -> object:
        runs = listed(*args, **named)
        while once:
            once.pop()()
        return runs

    monkeypatch.setattr(watch.instance, "get_runs", get_runs)


def status(watch: Watch, run: str) -> dg.DagsterRunStatus:
    return watch.instance.get_run_by_id(run).status


def test_a_run_that_ends_a_capture_between_two_looks_and_works_on_is_not_declared_dead(
    watch: Watch, started: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    """Its lock was free, so 32 of 47 captures were loaded twice, by runs shown as failed."""
    watch.put("kitchen/between.pcap")
    run = started(**{"dagster/partition": "kitchen/between.pcap"})
    with working(watch, "kitchen/between.pcap", run) as worker:
        after_runs_were_listed(watch, monkeypatch, lambda: worker.proceed_to("finished"))
        watch.look()

        assert status(watch, run) is dg.DagsterRunStatus.STARTED
    record = watch.ledger.get("kitchen/between.pcap")
    assert (record.state, record.attempts, record.error) == (State.DONE, 0, None)


def test_a_run_whose_capture_has_no_verdict_goes_on_if_its_process_lives(
    watch: Watch, started: Callable[..., str]
):
    """On a full disk, no verdict could be written. The sensor ended the run, which went on."""
    watch.put("kitchen/no verdict.pcap")
    watch.put("kitchen/at work.pcap")
    run = started(**{"dagster/partition": "kitchen/no verdict.pcap"})
    with working(watch, "kitchen/at work.pcap", run):
        watch.claim("kitchen/no verdict.pcap", run)
        watch.look()

        assert status(watch, run) is dg.DagsterRunStatus.STARTED
        assert watch.ledger.get("kitchen/at work.pcap").state is State.RUNNING


def test_the_run_of_a_terminal_that_ends_well_between_two_looks_is_not_shown_as_failed(
    watch: Watch, started: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    watch.put("kitchen/terminal ends.pcap")
    run = started(**{"dagster/partition": "kitchen/terminal ends.pcap", TERMINAL: "yes"})
    with working(watch, "kitchen/terminal ends.pcap", run) as worker:

        def end_well() -> None:
            worker.proceed_to("finished")
            success = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "ingest_captures")
            watch.instance.run_storage.handle_run_event(run, success, datetime.now(UTC))
            worker.proceed_to("ended")

        watch.put("kitchen/another.pcap")  # so that there is something to make good
        watch.ledger.take(capture_at(watch.inbox, "kitchen/another.pcap"))
        after_runs_were_listed(watch, monkeypatch, end_well)
        watch.look()

    assert status(watch, run) is dg.DagsterRunStatus.SUCCESS


def test_a_capture_that_is_claimed_between_two_looks_is_not_asked_for_again(
    watch: Watch, started: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    """It was asked for long ago by a terminal that is slow, and its run began just now."""
    key = "kitchen/late.pcap"
    watch.put(key)
    watch.ledger.take(capture_at(watch.inbox, key))
    ago(watch, START_SECONDS + 1)
    run = started()

    with ExitStack() as stack:
        after_runs_were_listed(
            watch, monkeypatch, lambda: stack.enter_context(working(watch, key, run))
        )
        watch.look()

        record = watch.ledger.get(key)
        assert (record.state, record.run, record.attempts) == (State.RUNNING, run, 0)


@pytest.mark.skipif(cores() < 2, reason="one process does all then")
def test_what_a_terminal_has_taken_is_left_to_it_however_slow_its_processes_are_to_begin(
    watch: Watch, lab: Lab, tmp_path: Path
):
    """On a busy machine they need over a minute. All captures were requested and loaded twice."""
    gate, site = tmp_path / "gate", tmp_path / "site" / "sitecustomize.py"
    site.parent.mkdir()
    site.write_text(
        "import os, sys, time\n"
        "while 'mt_pipeline.cli.workers' in sys.orig_argv "
        f"and not os.path.exists({str(gate)!r}):\n"
        "    time.sleep(0.05)\n"
    )
    for number in range(FEW + 2):
        watch.put(f"slow/{number:02}.pcap")
    settings = lab.settings(data_dir=watch.workspace.options.data_dir)
    with program(
        "ingest",
        watch.inbox,
        settings=settings,
        env=environment(settings, PYTHONPATH=str(site.parent)),
    ) as process:
        try:
            assert eventually(lambda: process.poll() is not None or watch.ledger.unfinished())
            ago(watch, START_SECONDS + 1)
            taken = watch.ledger.unfinished()

            watch.look()

            assert watch.ledger.unfinished()[: len(taken)] == taken != []
        finally:
            gate.touch()
        assert process.wait(SECONDS) == 0
    records = watch.ledger.records()
    assert [(record.state, record.attempts) for record in records] == [(State.DONE, 0)] * (FEW + 2)


def test_a_run_that_the_sensor_asked_for_does_not_do_again_what_is_done_by_now(lab: Lab):
    """The second request queued for longer than the first run took. The capture was loaded twice.

    A person who launches it again wants just that.
    """
    key = "queued/a.pcap"
    lab.put(key)
    first = lab.run(key)
    assert first.success

    late = lab.run(key, tags={BY_SENSOR: "yes"})
    assert (late.success, late.materialised(), lab.record(key).run) == (True, [], first.run_id)
    assert lab.run(key).materialised() == [key]


def test_a_walk_that_is_older_than_the_load_changes_nothing(watch: Watch):
    """The file was replaced and loaded while the inbox was scanned. It was loaded twice."""
    watch.put("kitchen/replaced.pcap")
    watch.finish("kitchen/replaced.pcap")
    before = inbox.walk(watch.inbox)
    capture(watch.inbox / "kitchen" / "replaced.pcap", "a.much.longer.name.example.com")
    watch.finish("kitchen/replaced.pcap")

    assert watch.ledger.look(before, settle=0) == []
    assert watch.ledger.get("kitchen/replaced.pcap").state is State.DONE
    assert watch.ledger.look(inbox.walk(watch.inbox), settle=0) == []


def test_a_request_that_never_became_a_run_is_no_fault_of_the_capture(watch: Watch):
    """Two of them once made a good capture a failed one."""
    watch.put("kitchen/never came.pcap")
    for _ in range(4):
        assert watch.keys() == ["kitchen/never came.pcap"]
        ago(watch, START_SECONDS + 1)


def test_a_cancelled_run_leaves_alone_what_another_run_has_taken_up_meanwhile(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    """It read the record, and wrote its verdict after the other run had written its own."""
    keys = ["taken up/at work.pcap", "taken up/meanwhile.pcap"]
    for key in keys:
        lab.put(key)
        lab.workspace().ledger.take(capture_at(lab.inbox, key))
    ledger, run_of = lab.workspace().ledger, lab.instance.get_run_by_id

    def another_run_is_sooner(run_id: str) -> object:
        if lab.record(keys[0]).state is State.FAILED and lab.record(keys[1]).state is State.WAITING:
            with suppress(CaptureBusyError), ledger.lock(keys[1], timeout=0):
                ledger.claim(capture_at(lab.inbox, keys[1]), run="another")
                ledger.finish(
                    keys[1], sha256="0", documents="0", packets=PACKETS, rows=PACKETS, skipped={}
                )
        return run_of(run_id)

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(lab.instance, "get_run_by_id", another_run_is_sooner)
        raise KeyboardInterrupt

    workspace = Workspace(lab.settings().options(), progress=interrupted)
    assert not lab.run(*keys, workspace=workspace).success

    record = lab.record(keys[1])
    assert (record.state is State.DONE) == (record.run == "another"), (
        "what another run did is judged by that one alone"
    )
