"""Queues by memory, and a real Redis that hands runs out."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.exceptions import EncodeError

from mt_pipeline.cluster import broker
from mt_pipeline.pipeline.options import Options
from mt_pipeline.settings import Settings
from mt_pipeline_tests.cluster.servers import PASSWORD, Broker

GB = 10**9


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if shutil.which("redis-server") is None:
        pytest.skip("needs Debian's redis-server: make redis")
    server = Broker(tmp_path_factory.mktemp("broker") / "redis", host="127.0.0.1")
    yield server
    server.kill()


def options(redis: Broker, tmp_path: Path, password: str = PASSWORD) -> Options:
    settings = Settings(
        _env_file=None, data_dir=tmp_path, broker_url=redis.url, broker_password=password
    )
    return settings.options()


def test_a_worker_takes_from_the_queue_of_all_and_from_those_of_its_memory():
    assert broker.queues(5 * GB) == ["dagster", "memory-1", "memory-2", "memory-4"]
    assert broker.queues(10**8) == ["dagster"]


@pytest.mark.parametrize(
    ("need", "memories", "queue"),
    [
        (3, [8, 64], "dagster"),
        (8, [8, 64], "dagster"),
        (9, [8, 64], "memory-16"),
        (40, [8, 64], "memory-64"),
        (400, [8, 64], "memory-64"),  # that one says what is missing
        (11, [8, 12], "memory-8"),  # between two classes: any that may have it
        (9, [], "dagster"),
    ],
)
def test_a_run_goes_to_a_worker_that_has_the_memory(need: int, memories: list[int], queue: str):
    assert broker.queue_for(need * GB, [memory * GB for memory in memories]) == queue
    assert not memories or queue in broker.queues(max(memories) * GB)


def test_runs_that_nobody_has_begun_are_known(redis: Broker, tmp_path: Path):
    celery = broker.app(options(redis, tmp_path))
    for name, queue in (("first", "dagster"), ("second", "memory-4")):
        task = celery.signature(broker.RUN, args=[name], task_id=name)
        task.apply_async(queue=queue, routing_key=f"{queue}.run")

    assert broker.waiting(celery) == {"first", "second"}
    redis.client.flushall()
    assert broker.waiting(celery) == set()


def test_messages_are_json_and_nothing_else(redis: Broker, tmp_path: Path):
    celery = broker.app(options(redis, tmp_path))

    assert celery.conf.accept_content == ["json"]
    with pytest.raises(EncodeError):
        celery.send_task(broker.RUN, args=[object()])


def test_a_broker_that_lets_nobody_in_says_why_without_the_password(redis: Broker, tmp_path: Path):
    assert broker.answers(broker.app(options(redis, tmp_path))) is None
    refused = broker.answers(broker.app(options(redis, tmp_path, "wr0ng")))
    assert refused
    assert "password" in refused
    assert "wr0ng" not in refused


def test_a_broker_that_is_away_is_no_error(redis: Broker, tmp_path: Path):
    celery = broker.app(options(redis, tmp_path))
    redis.kill()
    try:
        assert "refused" in (broker.answers(celery) or "")
    finally:
        redis.start()
    assert broker.answers(celery) is None
