"""The asset of reports, and when its sensor asks for one."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.reports import MOST_PER_TICK, QUIET_SECONDS, due, quiet_experiments
from mt_pipeline.pipeline.files import report_file
from mt_pipeline_tests.pipelines import Lab, capture


def made(lab: Lab, experiment: str) -> dg.ExecuteInProcessResult:
    """Run the job of reports for an experiment."""
    lab.instance.add_dynamic_partitions("experiments", [experiment])
    job = build_defs(workspace=lab.workspace()).resolve_job_def("report_experiments")
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(
        instance=lab.instance, partition_key=experiment, raise_on_error=False, run_config=config
    )


def test_the_report_lies_below_the_data_folder_and_says_how_large_it_is(lab: Lab):
    lab.put("asset of reports/a.pcap")
    assert lab.run("asset of reports/a.pcap").success

    result = made(lab, "asset_of_reports")

    path = report_file(lab.data, "asset_of_reports")
    [event] = result.asset_materializations_for_node("experiment_report")
    metadata = {name: value.value for name, value in event.metadata.items()}
    assert path == lab.data / "reports" / "asset_of_reports.html"
    assert metadata.pop("seconds") > 0
    assert metadata.pop("page") == "[read the report](/reports/asset_of_reports.html)"
    explorer = "[explore this experiment](/explore?e=asset_of_reports)"
    assert metadata.pop("explorer") == explorer
    assert metadata == {
        "report": str(path),
        "page_bytes": path.stat().st_size,
        "packets": 2,
        "captures": 1,
    }
    assert event.partition == "asset_of_reports"


def test_an_experiment_without_rows_fails_with_one_sentence(lab: Lab):
    result = made(lab, "no_such_experiment")

    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    assert failure.step_failure_data.user_failure_data.description.startswith(
        "QuestDB has no view packets_no_such_experiment, so there is nothing"
    )
    assert not report_file(lab.data, "no_such_experiment").exists()


QUIET = 0.5


class Watch:
    """A data folder of its own. Each report that is due gets a run, and a file if that succeeds."""

    def __init__(self, lab: Lab, data: Path) -> None:
        self.instance, self.workspace = lab.instance, lab.workspace(data_dir=data)
        self.run_keys: set[str] = set()

    def load(self, key: str) -> None:
        capture(self.workspace.inbox / key)
        self.workspace.ledger.claim(capture_at(self.workspace.inbox, key), run="x")
        self.workspace.ledger.finish(key, sha256="0", documents="0", packets=2, rows=2, skipped={})

    def look(self, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS) -> list[str]:
        """Return the experiments that are due, and let their runs end so."""
        found = due(self.workspace, self.instance, quiet=QUIET)
        for one in found:
            assert one.run_key not in self.run_keys, "Dagster starts no second run of a run key"
            self.run_keys.add(one.run_key)
            self.instance.add_run(
                dg.DagsterRun(
                    "report_experiments", status=status, tags={"dagster/partition": one.experiment}
                )
            )
            if status is dg.DagsterRunStatus.SUCCESS:
                path = report_file(self.workspace.options.data_dir, one.experiment)
                path.parent.mkdir(exist_ok=True)
                path.touch()
        return [one.experiment for one in found]


@pytest.fixture
def watch(lab: Lab, tmp_path: Path) -> Watch:
    return Watch(lab, tmp_path / "data")


def quiet() -> None:
    time.sleep(QUIET)


def test_the_sensor_asks_for_a_run_of_a_partition_that_exists_by_then(lab: Lab, watch: Watch):
    watch.load("asked_for/a.pcap")
    context = dg.build_sensor_context(
        instance=lab.instance, resources={"workspace": watch.workspace}
    )
    assert isinstance(quiet_experiments(context), dg.SkipReason)
    with (
        closing(sqlite3.connect(watch.workspace.options.data_dir / "ledger.sqlite")) as ledger,
        ledger,
    ):
        ledger.execute("UPDATE captures SET changed_at = changed_at - ?", (QUIET_SECONDS,))

    result = quiet_experiments(context)

    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests or ()] == ["asked_for"]
    assert [
        list(request.partition_keys) for request in result.dynamic_partitions_requests or ()
    ] == [["asked_for"]]


def test_a_report_is_asked_for_once_when_its_experiment_is_quiet(watch: Watch):
    watch.load("once/a.pcap")
    assert watch.look() == []
    quiet()

    assert watch.look() == ["once"]
    assert watch.look() == []


def test_it_is_asked_for_again_when_a_capture_comes_changes_or_goes(watch: Watch):
    watch.load("again/a.pcap")
    quiet()
    watch.look()
    for change in (
        lambda: watch.load("again/b.pcap"),
        lambda: watch.load("again/a.pcap"),
        lambda: watch.workspace.ledger.purge("again/b.pcap"),
    ):
        change()
        quiet()
        assert watch.look() == ["again"]
        assert watch.look() == []


def test_captures_at_work_are_waited_for_and_hold_up_no_other_experiment(watch: Watch):
    watch.load("at_work/a.pcap")
    capture(watch.workspace.inbox / "at_work" / "b.pcap")
    watch.workspace.ledger.claim(capture_at(watch.workspace.inbox, "at_work/b.pcap"), run="x")
    watch.load("not_at_work/a.pcap")
    quiet()

    assert watch.look() == ["not_at_work"]
    watch.load("at_work/b.pcap")
    quiet()
    assert watch.look() == ["at_work"]


def test_what_has_no_rows_is_not_asked_for(watch: Watch):
    watch.load("purged/a.pcap")
    watch.workspace.ledger.purge("purged/a.pcap")
    quiet()

    assert watch.look() == []


def test_a_report_that_failed_or_was_cut_off_is_asked_for_once_more(watch: Watch):
    watch.load("failing/a.pcap")
    quiet()

    assert [watch.look(dg.DagsterRunStatus.FAILURE) for _ in range(3)] == [
        ["failing"],
        ["failing"],
        [],
    ]
    watch.load("failing/a.pcap")
    quiet()
    assert watch.look() == ["failing"]


def test_a_report_that_is_being_made_is_waited_for(watch: Watch):
    watch.load("going/a.pcap")
    quiet()

    assert [watch.look(dg.DagsterRunStatus.STARTED) for _ in range(2)] == [["going"], []]


def test_many_experiments_come_one_handful_after_the_other(watch: Watch):
    names = [f"many_{number}" for number in range(MOST_PER_TICK + 2)]
    for name in names:
        watch.load(f"{name}/a.pcap")
    quiet()

    assert [watch.look(), watch.look(), watch.look()] == [
        names[:MOST_PER_TICK],
        names[MOST_PER_TICK:],
        [],
    ]
