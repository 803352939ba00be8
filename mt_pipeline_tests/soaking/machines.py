"""Faults of a cluster: two hosts over one archive, of which one loses what it needs, ten times.

Each returns a list of what is wrong at its end, as `faults.py` does.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mt_pipeline.captures.records import State
from mt_pipeline.defs.launcher import HOST
from mt_pipeline_tests.benchmarks.measuring import say
from mt_pipeline_tests.cluster.hosts import SLOTS, Cluster, cluster
from mt_pipeline_tests.cluster.network import missing
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.soaking import archive

_ENOUGH = 3600
_AWAY_SECONDS = 90
_BUDGET = 100
"""Calls to Netify a day: fewer than the archive has endpoints."""


def _run_process(lab: Cluster, moments: random.Random) -> None:
    """Kill the process of a run."""
    host = moments.choice([lab.head, lab.other])
    processes = host.named("celery_worker")
    runs = [process for process in processes if process.parent() in processes]
    if runs:
        moments.choice(runs).kill()


def _worker(lab: Cluster, moments: random.Random) -> None:
    """Kill Celery, which its supervisor starts again."""
    host = moments.choice([lab.head, lab.other])
    processes = host.named("celery_worker")
    for process in processes:
        if process.parent() not in processes:
            process.kill()


def _broker(lab: Cluster, _moments: random.Random) -> None:
    """Kill Redis, which forgets what it had."""
    lab.broker.kill()
    lab.broker.start()


def _postgres(lab: Cluster, _moments: random.Random) -> None:
    """Let Postgres crash."""
    lab.postgres.kill()
    lab.postgres.start()


def _power(lab: Cluster, _moments: random.Random) -> None:
    """Cut the power of the host with the worker."""
    lab.other.power_off()
    lab.other.power_on()
    lab.start_worker()


def _network(lab: Cluster, _moments: random.Random) -> None:
    """Take the network from the host with the worker, whose runs live on."""
    lab.other.link("down")
    time.sleep(_AWAY_SECONDS)
    lab.other.link("up")


FAULTS: dict[str, Callable[[Cluster, random.Random], None]] = {
    "run": _run_process,
    "worker": _worker,
    "redis": _broker,
    "postgres": _postgres,
    "power": _power,
    "network": _network,
}


def faults(folder: Path, *, fault: str, captures: int, points: int, seed: int) -> list[str]:
    """Let something happen at random moments while two hosts load captures."""
    if reason := missing():
        return [reason]
    moments, happened = random.Random(seed), 0  # noqa: S311
    with cluster(folder, budget=_BUDGET) as lab:
        expected = _dropped(lab, captures)
        while happened < points and lab.left(expected):
            time.sleep(moments.uniform(0.2, 5))
            FAULTS[fault](lab, moments)
            happened += 1
        wrong = _done(lab, expected) + _asked(lab, cut=points * SLOTS)
    return wrong if happened == points else [*wrong, f"only {happened} of {points}: too few"]


def shares(folder: Path, *, captures: int) -> list[str]:
    """Load an archive without any fault: exact, each host 40 to 60 % of it.

    Print the time of the processor, servers included, and that of one machine for the same.
    """
    if reason := missing():
        return [reason]
    with cluster(folder, counts_reads=False) as lab:
        before = lab.cpu_seconds()
        expected = _dropped(lab, captures)
        ended = eventually(lambda: not _unended(lab, expected), seconds=_ENOUGH)
        cpu = lab.cpu_seconds() - before
        host_of = {run["runId"]: run["tags"].get(HOST) for run in lab.runs()}
        of_hosts = Counter(host_of[record.run] for record in lab.ledger.records())
        wrong = _done(lab, expected) if ended else ["not all captures ended"]
        lab.stop()
        before = lab.cpu_seconds()
        (lab.inbox / "archive").rename(lab.folder / "again")
        alone = lab.ingest_alone(lab.folder / "again")
        of_one = lab.cpu_seconds() - before
    say(f"{captures} captures: {dict(of_hosts)}; {cpu:.0f} s of CPU, one machine {of_one:.0f} s")
    wrong += [] if alone.returncode == 0 else [alone.stderr]
    return wrong + [
        f"{host}: {count} of {captures} captures"
        for host, count in of_hosts.items()
        if not 0.4 <= count / captures <= 0.6
    ]


def _dropped(lab: Cluster, captures: int) -> dict[str, archive.Written]:
    expected = archive.write(lab.folder / "elsewhere", "archive", captures)
    (lab.folder / "elsewhere" / "archive").rename(lab.inbox / "archive")
    return expected


def _done(lab: Cluster, expected: dict[str, archive.Written]) -> list[str]:
    """Wait for captures; a person tries those that failed once more, with one command."""
    ended = eventually(lambda: not _unended(lab, expected), seconds=_ENOUGH)
    retried = lab.retry_failed() if lab.left(expected) else None
    wrong = [] if ended else [f"{len(lab.left(expected))} captures were never done"]
    wrong += [] if retried in (None, 0) else [f"the retry ended with {retried}"]
    wrong += archive.differences(lab.questdb.database, expected)
    checked = lab.verify()
    return wrong if checked.returncode == 0 else [*wrong, checked.stdout + checked.stderr]


def _asked(lab: Cluster, *, cut: int) -> list[str]:
    """Compare calls with the budget.

    Args:
        lab: the cluster, when all is done.
        cut: how many calls may have been cut off. Such a call is counted, and may not have reached
            Netify; or it has, and its endpoint is asked for again.
    """
    asked = [seen.endpoint for seen in lab.netify.requests()]
    again = len(asked) - len(set(asked))
    say(f"{len(asked)} calls to Netify, {again} for the second time")
    exact = _BUDGET - cut <= len(asked) <= _BUDGET and again <= cut
    return [] if exact else [f"{len(asked)} calls of {_BUDGET}, {again} for the second time"]


def _unended(lab: Cluster, expected: dict[str, archive.Written]) -> set[str]:
    ended = (State.DONE, State.FAILED)
    return set(expected) - {each.key for each in lab.ledger.records() if each.state in ended}
