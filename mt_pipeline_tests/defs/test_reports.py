"""The asset of reports, and when its sensor asks for one."""

import time
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs import reports
from mt_pipeline.defs.files import report_file
from mt_pipeline.defs.reports import MOST_PER_TICK, QUIET_SECONDS, quiet_experiments
from mt_pipeline_tests.pipelines import Lab, capture


def made(lab: Lab, experiment: str) -> dg.ExecuteInProcessResult:
    """Run the job of reports for an experiment."""
    lab.instance.add_dynamic_partitions("experiments", [experiment])
    job = build_defs(pipeline=lab.pipeline()).resolve_job_def("report_experiments")
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(instance=lab.instance, partition_key=experiment, raise_on_error=False, run_config=config)


def test_the_report_lies_below_the_data_folder_and_says_how_large_it_is(lab: Lab):
    lab.put("asset of reports/a.pcap")
    assert lab.run("asset of reports/a.pcap").success

    result = made(lab, "asset_of_reports")

    path = report_file(lab.data, "asset_of_reports")
    [event] = result.asset_materializations_for_node("experiment_report")
    metadata = {name: value.value for name, value in event.metadata.items()}
    assert path == lab.data / "reports" / "asset_of_reports.html"
    assert metadata.pop("seconds") > 0
    assert metadata == {"report": str(path), "bytes": path.stat().st_size, "packets": 2, "captures": 1}
    assert event.partition == "asset_of_reports"


def test_an_experiment_without_rows_fails_with_one_sentence(lab: Lab):
    result = made(lab, "no_such_experiment")

    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    assert failure.step_failure_data.user_failure_data.description.startswith("QuestDB has no view packets_no_such_experiment, so there is nothing")
    assert not report_file(lab.data, "no_such_experiment").exists()


class Watch:
    """The sensor on a ledger of its own; what it asks for is never started."""

    def __init__(self, lab: Lab, data: Path) -> None:
        self.instance, self.pipeline = lab.instance, lab.pipeline(data_dir=data)
        self.cursor: str | None = None

    def load(self, key: str) -> None:
        capture(self.pipeline.inbox / key)
        self.pipeline.ledger.claim(capture_at(self.pipeline.inbox, key), run="x")
        self.pipeline.ledger.finish(key, sha256="0", documents="0", packets=2, rows=2, skipped={})

    def look(self) -> list[str | None]:
        """Return what is asked for, with partitions that exist by then."""
        context = dg.build_sensor_context(instance=self.instance, resources={"pipeline": self.pipeline}, cursor=self.cursor)
        result = quiet_experiments(context)
        if isinstance(result, dg.SkipReason):
            return []
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions("experiments", list(request.partition_keys))
        wanted = [request.partition_key for request in result.run_requests or ()]
        assert all(self.instance.has_dynamic_partition("experiments", name) for name in wanted if name)
        return wanted


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Give the sensor, which takes half a second for quiet."""
    monkeypatch.setattr(reports, "QUIET_SECONDS", 0.5)
    return Watch(lab, tmp_path / "data")


def quiet() -> None:
    time.sleep(0.6)


def test_a_report_is_asked_for_once_when_its_experiment_is_quiet(watch: Watch):
    watch.load("kitchen/a.pcap")
    assert watch.look() == []
    quiet()

    assert watch.look() == ["kitchen"]
    assert watch.look() == []


def test_it_is_asked_for_again_when_a_capture_comes_changes_or_goes(watch: Watch):
    watch.load("kitchen/a.pcap")
    quiet()
    watch.look()
    for change in (lambda: watch.load("kitchen/b.pcap"), lambda: watch.load("kitchen/a.pcap"), lambda: watch.pipeline.ledger.purge("kitchen/b.pcap")):
        change()
        quiet()
        assert watch.look() == ["kitchen"]
        assert watch.look() == []


def test_captures_at_work_are_waited_for_and_hold_up_no_other_experiment(watch: Watch):
    watch.load("kitchen/a.pcap")
    capture(watch.pipeline.inbox / "kitchen" / "b.pcap")
    watch.pipeline.ledger.claim(capture_at(watch.pipeline.inbox, "kitchen/b.pcap"), run="x")
    watch.load("garden/a.pcap")
    quiet()

    assert watch.look() == ["garden"]
    watch.load("kitchen/b.pcap")
    quiet()
    assert watch.look() == ["kitchen"]


def test_what_has_no_rows_is_not_asked_for(watch: Watch):
    watch.load("kitchen/a.pcap")
    watch.pipeline.ledger.purge("kitchen/a.pcap")
    quiet()

    assert watch.look() == []


def test_many_experiments_come_one_handful_after_the_other(watch: Watch):
    names = [f"many_{number}" for number in range(MOST_PER_TICK + 2)]
    for name in names:
        watch.load(f"{name}/a.pcap")
    quiet()

    assert [watch.look(), watch.look(), watch.look()] == [names[:MOST_PER_TICK], names[MOST_PER_TICK:], []]
    assert QUIET_SECONDS >= 30
