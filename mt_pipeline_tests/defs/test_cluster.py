"""What the sensor makes of a cluster: shares of an archive, queues by memory, lost runs."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.cluster import broker
from mt_pipeline.cluster.members import Worker
from mt_pipeline.defs import cluster
from mt_pipeline.defs.launcher import at_work
from mt_pipeline.pipeline.options import Options
from mt_pipeline.settings import Settings
from mt_pipeline_tests import postgres
from mt_pipeline_tests.cluster import servers
from mt_pipeline_tests.pipelines import Lab, capture

GB = 10**9
WORKERS = [Worker("lab1-a", "lab1", 2, 8 * GB), Worker("lab2-b", "lab2", 2, 64 * GB)]


@pytest.mark.parametrize(
    ("left", "workers", "captures"),
    [(300, WORKERS, 19), (34_000, WORKERS, 50), (3, WORKERS, 1), (300, [], 50)],
)
def test_what_is_left_is_cut_by_the_slots(left: int, workers: list[Worker], captures: int):
    assert cluster.captures_per_run(left, workers) == captures


def test_each_slot_has_work_in_hand():
    assert cluster.in_hand(500, []) == 500
    assert cluster.in_hand(500, WORKERS * 5) == 2000


def test_a_large_capture_goes_to_a_worker_with_the_memory(tmp_path: Path):
    options = Settings(_env_file=None, data_dir=tmp_path).options()
    small, large = capture(tmp_path / "in" / "small.pcap"), capture(tmp_path / "in" / "large.pcap")
    with large.open("r+b") as file:
        file.truncate(2 * GB)  # of nothing: it takes no disk
    both = [capture_at(tmp_path, f"in/{file.name}") for file in (small, large)]

    assert cluster.queue_tags(options, both[:1], WORKERS) == {cluster.QUEUE: "dagster"}
    assert cluster.queue_tags(options, both, WORKERS) == {cluster.QUEUE: "memory-16"}
    assert cluster.queue_tags(options, both, []) == {}


@pytest.fixture
def options(postgres_server: postgres.Server, tmp_path: Path) -> Iterator[Options]:
    if shutil.which("redis-server") is None:
        pytest.skip("needs Debian's redis-server: make redis")
    redis = servers.Broker(tmp_path / "redis", host="127.0.0.1")
    yield Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        state_url=postgres_server.state.url,
        state_password=postgres.PASSWORD,
        broker_url=redis.url,
        broker_password=servers.PASSWORD,
    ).options()
    redis.kill()


def test_a_run_that_the_broker_lost_has_failed_and_no_other(
    options: Options, lab: Lab, starting: Callable[[], str]
):
    lost, queued, alive = starting(), starting(), starting()
    celery = broker.app(options)
    celery.signature(broker.RUN, args=[queued], task_id=queued).apply_async(queue=broker.QUEUE)

    def status(run: str) -> dg.DagsterRunStatus:
        return lab.instance.get_run_by_id(run).status

    with at_work(options, alive):
        cluster.fail_lost_runs(options, lab.instance, after=0)

    assert status(lost) is dg.DagsterRunStatus.FAILURE
    assert status(queued) is status(alive) is dg.DagsterRunStatus.STARTING


def test_a_run_that_has_just_been_handed_out_is_left_alone(
    options: Options, lab: Lab, starting: Callable[[], str]
):
    run = starting()
    cluster.fail_lost_runs(options, lab.instance)
    assert lab.instance.get_run_by_id(run).status is dg.DagsterRunStatus.STARTING


def test_without_the_broker_nobody_knows_and_no_run_fails(
    options: Options, lab: Lab, starting: Callable[[], str], caplog: pytest.LogCaptureFixture
):
    run = starting()
    away = replace(options, broker_url="redis://127.0.0.1:1/0")

    cluster.fail_lost_runs(away, lab.instance, after=0)

    assert lab.instance.get_run_by_id(run).status is dg.DagsterRunStatus.STARTING
    assert "the broker does not answer" in caplog.text


@pytest.fixture
def starting(lab: Lab) -> Iterator[Callable[[], str]]:
    """Give a function that makes a run that was handed out; it is deleted afterwards."""
    made: list[str] = []

    def make() -> str:
        status = dg.DagsterRunStatus.STARTING
        run = lab.instance.add_run(dg.DagsterRun(job_name="ingest_captures", status=status))
        made.append(run.run_id)
        return run.run_id

    yield make
    for run_id in made:
        lab.instance.delete_run(run_id)
