"""Two hosts over one archive, and what takes a process, a server or a network from them.

One cluster serves all tests of this file; each has an experiment of its own, and leaves it whole.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from mt_pipeline.captures.records import State
from mt_pipeline.defs.launcher import HOST, WORKER
from mt_pipeline_tests.cluster import servers
from mt_pipeline_tests.cluster.hosts import BUDGET, NETIFY_KEY, Cluster, cluster
from mt_pipeline_tests.cluster.network import missing
from mt_pipeline_tests.pipelines import PACKETS, rows, wrapper
from mt_pipeline_tests.postgres import PASSWORD
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.soaking import archive

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(1800),  # on a machine that is busy with other tests
]

CAPTURES = 24
_CANCEL = """mutation($run: String!) {terminateRun(runId: $run) {__typename
    ... on TerminateRunFailure {message}}}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def archived(lab: Cluster) -> dict[str, archive.Written]:
    """Load an archive, before anything else happens."""
    expected = archive.write(lab.folder / "elsewhere", "archive", CAPTURES)
    (lab.folder / "elsewhere" / "archive").rename(lab.inbox / "archive")
    lab.wait_for(expected)
    return expected


@pytest.fixture
def asleep(
    lab: Cluster, archived: dict[str, archive.Written], request: pytest.FixtureRequest
) -> Iterator[dict[str, list[str]]]:
    """Give captures at work on each host, over which tshark sleeps; wake it at the end."""
    try:
        yield lab.asleep(f"x{request.node.name[5:35]}")
    finally:
        lab.wake()


def is_whole(lab: Cluster, captures: dict[str, list[str]]) -> bool:
    """Let captures end, and say whether each is there once."""
    lab.wake()
    keys = [key for keys in captures.values() for key in keys]
    lab.wait_for(keys)
    experiment = keys[0].partition("/")[0]
    return len(rows(lab.questdb.database, experiment, ["frame_number"])) == PACKETS * len(keys)


def test_an_archive_over_two_hosts_is_exact_and_each_capture_is_read_once(
    lab: Cluster, archived: dict[str, archive.Written]
):
    assert archive.differences(lab.questdb.database, archived) == []
    assert {*Counter(lab.reads()).items()} >= {(key, 1) for key in archived}
    assert lab.verify().returncode == 0, lab.verify()


def test_both_hosts_take_part_and_each_run_says_where_it_ran(
    lab: Cluster, archived: dict[str, archive.Written]
):
    runs = [run["tags"] for run in lab.runs() if run["jobName"] == "ingest_captures"]

    assert Counter(tags[HOST] for tags in runs).keys() == {"lab1", "lab2"}
    assert all(tags[WORKER].startswith(f"{tags[HOST]}-") for tags in runs)


def test_two_hosts_keep_one_budget_and_ask_for_nothing_twice(
    lab: Cluster, archived: dict[str, archive.Written]
):
    asked = [seen.endpoint for seen in lab.netify.requests()]

    assert len(asked) == len(set(asked)) == BUDGET


def test_no_secret_is_in_a_command_a_message_or_the_file_that_one_joins_by(
    lab: Cluster, archived: dict[str, archive.Written]
):
    commands = list[str]()
    for process in [*lab.head.processes(), *lab.other.processes()]:
        with suppress(psutil.NoSuchProcess):  # a run ends
            commands.append(" ".join(process.cmdline()))
    texts = [*commands, lab.logs(), (lab.data / "cluster.json").read_text()]

    assert len(commands) > 8
    for secret in (PASSWORD, servers.PASSWORD, NETIFY_KEY):
        assert not [text for text in texts if secret in text]


def test_a_worker_with_another_tshark_is_refused(lab: Cluster):
    other = wrapper(lab.folder / "newer", "")
    other.write_text('#!/bin/sh\necho "TShark (Wireshark) 99.1.2."\n')

    ended = lab.run_worker(MT_TSHARK=str(other))

    assert ended.returncode == 1
    assert "the head has tshark" in ended.stderr
    assert "and this machine 99.1.2: install the same here" in ended.stderr


def test_a_worker_without_the_secrets_is_told_their_names(lab: Cluster):
    ended = lab.run_worker(MT_BROKER_PASSWORD="")

    assert ended.returncode == 2
    assert "the head has MT_BROKER_PASSWORD, and this machine has not" in ended.stderr


def test_the_process_of_a_run_is_killed(lab: Cluster, asleep: dict[str, list[str]]):
    mains = lab.other.named("celery_worker")
    [run, *_] = [process for process in mains if process.parent() in mains]
    run.kill()

    assert is_whole(lab, asleep)


def test_a_worker_is_killed(lab: Cluster, asleep: dict[str, list[str]]):
    mains = lab.other.named("celery_worker")
    [main] = [process for process in mains if process.parent() not in mains]
    main.kill()

    assert is_whole(lab, asleep)
    assert eventually(lambda: "it starts again in" in lab.log("other").read_text())


def test_the_broker_is_killed(lab: Cluster, asleep: dict[str, list[str]]):
    before = Counter(lab.reads())
    lab.broker.kill()
    lab.wake()
    lab.wait_for([key for keys in asleep.values() for key in keys])  # runs at work do not need it
    lab.broker.start()

    assert is_whole(lab, asleep)
    assert Counter(lab.reads()) == before
    assert is_whole(lab, lab.asleep("after_the_broker"))


def test_postgres_is_killed(lab: Cluster, asleep: dict[str, list[str]]):
    lab.postgres.kill()
    lab.postgres.start()

    assert is_whole(lab, asleep)


def test_a_host_loses_its_power(lab: Cluster, asleep: dict[str, list[str]]):
    lab.other.power_off()
    try:
        assert is_whole(lab, asleep)
    finally:
        lab.other.power_on()
        lab.start_worker()


def test_a_run_that_lives_on_without_a_network_changes_nothing_any_more(
    lab: Cluster, asleep: dict[str, list[str]]
):
    """Its captures are done by the other host; then it wakes up, and the network comes back."""
    processes = lab.other.named("celery_worker")
    runs = [process for process in processes if process.parent() in processes]
    lab.other.link("down")
    try:
        lab.wake(lab.head)
        lab.wait_for(asleep["lab2"])
        verdicts = lab.verdicts(asleep["lab2"])
        lab.wake()
    finally:
        lab.other.link("up")
    assert psutil.wait_procs(runs, timeout=300)[1] == []

    assert lab.verdicts(asleep["lab2"]) == verdicts
    assert is_whole(lab, asleep)


def test_a_run_that_is_cancelled_ends_and_its_capture_stays_out(
    lab: Cluster, asleep: dict[str, list[str]]
):
    [key, *others] = asleep["lab2"]
    record = lab.ledger.get(key)
    assert record is not None
    answer = lab.ask(_CANCEL, run=record.run)

    assert answer == {"terminateRun": {"__typename": "TerminateRunSuccess"}}, json.dumps(answer)
    assert eventually(lambda: lab.status(record.run) == "CANCELED"), lab.logs()
    assert (cancelled := lab.ledger.get(key)) is not None
    assert cancelled.state is State.FAILED
    assert is_whole(lab, {"lab1": asleep["lab1"], "lab2": others})


def test_a_worker_that_is_stopped_gives_its_captures_back(
    lab: Cluster, asleep: dict[str, list[str]]
):
    assert lab.stop_worker() == 0, lab.logs()
    assert lab.other.named("celery_worker") == []
    try:
        assert is_whole(lab, asleep)
    finally:
        lab.start_worker()


def test_rows_and_ledger_agree_after_all_that(lab: Cluster, archived: dict[str, archive.Written]):
    assert archive.differences(lab.questdb.database, archived) == []
    assert lab.verify().returncode == 0, lab.verify()
