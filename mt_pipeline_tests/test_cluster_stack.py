"""The services of compose.cluster.yml as processes: a head that only hands out runs, a worker."""

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from shutil import which

import pytest
import requests

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline_tests.compose import CLUSTER, Stack, postgres_programs
from mt_pipeline_tests.pipelines import PACKETS, capture
from mt_pipeline_tests.services import eventually, rows_so_far
from mt_pipeline_tests.test_stack import SECRETS as OF_ONE

SECRETS = {
    **OF_ONE,
    "mt_state_password": OF_ONE["postgres_password"],
    "mt_broker_password": "0123456789abcdef",
}
ORDER = ("postgres", "redis", "questdb", "head", "worker")
ALL = [(number,) for number in range(1, PACKETS + 1)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if not (postgres_programs() and which("redis-server") and find_spec("celery")):
        pytest.skip("Postgres, Redis or Celery is not there: `make test` installs them")
    folder = tmp_path_factory.mktemp("stack")
    for name in ("data", "inbox", "offline"):
        (folder / "lab" / name).mkdir(parents=True, mode=0o700)
    given = {
        "LAB_FOLDER": str(folder / "lab"),
        "LAB_ADDRESS": "127.0.0.1",
        "MT_SETTLE_SECONDS": "1",
        "MT_ENRICHMENT": "none",
        "MT_SLOTS": "0",
    }
    stack = Stack(folder, given, SECRETS, CLUSTER)
    stack.services["worker"]["environment"]["MT_SLOTS"] = "1"
    with stack.running(ORDER):
        yield stack


def arrived(stack: Stack, experiment: str) -> bool:
    """Drop a capture, and wait until its rows can be read."""
    capture(stack.place("/inbox") / experiment / "a.pcap")
    database = Database(
        "127.0.0.1", stack.port(9000), stack.port(8812), "admin", SECRETS["mt_questdb_password"]
    )
    return eventually(lambda: rows_so_far(database, experiment) == ALL)


def test_a_capture_is_read_by_the_worker_and_the_run_says_so(stack: Stack):
    assert arrived(stack, "kitchen"), stack.log("head") + stack.log("worker")[-5_000:]

    query = "{ runsOrError { ... on Runs { results { tags { key value } } } } }"
    answer = requests.post(
        f"http://127.0.0.1:{stack.port(3000)}/graphql", json={"query": query}, timeout=60
    ).json()
    [run] = answer["data"]["runsOrError"]["results"]
    assert socket.gethostname() in [tag["value"] for tag in run["tags"]]


def test_a_worker_without_an_end_or_a_redis_without_a_memory_delays_and_no_more(stack: Stack):
    assert arrived(stack, "cellar"), stack.log("head")
    stack.kill("worker")
    stack.kill("redis")
    assert not stack.is_healthy("redis")
    stack.start("redis")
    stack.start("worker")
    assert arrived(stack, "attic"), stack.log("head") + stack.log("worker")


def test_no_secret_is_in_a_command_an_environment_or_the_settings_that_are_shared(stack: Stack):
    secrets = [secret for secret in SECRETS.values() if secret]
    shared = (stack.place("/data") / "cluster.json").read_text()
    commands = " ".join(" ".join(process.cmdline()) for process, _ in stack.processes())

    for secret in secrets:
        assert secret not in shared
        assert secret not in commands
        assert not any(secret in stack.environment(name).values() for name in ORDER)


def test_a_worker_s_health_is_that_it_takes_runs(stack: Stack):
    stack.stop("worker")
    # The one that an earlier test killed counts until its last sign is too old.
    assert eventually(lambda: not stack.is_healthy("worker"))
    stack.start("worker")
