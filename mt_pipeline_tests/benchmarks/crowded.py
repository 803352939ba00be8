"""Many known captures: what the sensor, the pages, the terminal and each process then take."""

import os
import signal
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import dagster as dg
import psutil
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.records import State
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline_tests.benchmarks.crowd import fill, key, multiply
from mt_pipeline_tests.benchmarks.measuring import run, say, used
from mt_pipeline_tests.browsers import chromium
from mt_pipeline_tests.pipelines import STAGES, capture, environment, settings_of
from mt_pipeline_tests.services import Running, eventually, processes_of, running

_NOWHERE = Database("127.0.0.1", 9, 9, "", "")
_SETTLE = 1
_REST_SECONDS = 60
_SECONDS = 900
"""The longest wait for anything."""

_KINDS = {
    "web server": "service.dagster_server",
    "code server": "code_server",
    "daemon": "dagster._daemon",
    "explorer": "explorer_server",
    "page in the browser": "--type=renderer",
}
"""Processes of a service, and what is in the command of each."""

_LAUNCH = """
mutation($backfill: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfill) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
_RUNS_OF = """
query($id: String!) {
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
    ... on Runs { results { status } }
  }
}"""
_CANCEL = "mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }"


def measured(folder: Path, *, counts: Sequence[int]) -> None:
    """Measure inboxes and services with so many captures, one after the other."""
    for count in counts:
        looks(folder / f"looks{count}", count=count)
        service(folder / f"crowded{count}", count=count)


def looks(folder: Path, *, count: int) -> None:
    """Time the ticks of the sensor with so many captures: new, settled, and done."""
    settings = settings_of(folder, _NOWHERE, settle_seconds=0.1)
    workspace = Workspace(settings.options())
    fill(workspace.inbox, count)
    with dagster_home.opened(settings.options()) as opened:
        _look(opened, workspace, f"{count:,} captures, all new")
        _look(opened, workspace, "the same, settled: the first portion is asked for")
        with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger, ledger:
            ledger.execute(
                "UPDATE captures SET state = 'done', requested_at = NULL, packets = 2, rows = 2, "
                "sha256 = key"
            )
        for _ in range(3):
            _look(opened, workspace, "the same, all done with")


def service(folder: Path, *, count: int) -> None:
    """Time a service with so many captures that are done with, and weigh its processes."""
    folder.mkdir()
    with running(folder) as small:
        _drop(small, key(0))
        small.process.send_signal(signal.SIGINT)  # after a kill the next one looks for all rows
        small.process.wait(_SECONDS)
    say(f"\nA service with {count:,} captures; load of the machine {os.getloadavg()[0]:.1f}")
    multiply(folder / "data", count)
    with running(folder) as crowded:
        _at_rest(crowded)
        drops = [_drop(crowded, f"dropped/{number}.pcap") for number in range(3)]
        say(f"| a capture that is dropped, to done | {statistics.median(drops):.1f} s | |")
        status = [sys.executable, "-m", "mt_pipeline.cli.main", "status"]
        measured = run(status, environment=environment(crowded.settings))
        say(
            f"| `mt-pipeline status` | {measured.seconds:.1f} s "
            f"| {measured.processor:.1f} s, {measured.memory:.0f} MiB |"
        )
        for which in ("first", "again"):
            with _timed(crowded, f"the explorer's list of experiments, {which}"):
                answer = requests.get(f"{crowded.explorer}/api/experiments", timeout=_SECONDS)
                answer.raise_for_status()
        with chromium(folder / "profile") as browser:
            _pages(crowded, browser, shown=f"Materialized ({count + len(drops)})")
        keys = [key(number) for number in range(count)]
        _backfill(crowded, keys[:500])
        _backfill(crowded, keys)
        for name, process in _processes(crowded):
            peak = _peak(process)
            say(f"| memory of the {name}, now and at most | | {_mib(process)}, {peak} MiB |")


def _at_rest(service: Running) -> None:
    """Say which share of a core each process takes that has nothing to do."""
    time.sleep(_REST_SECONDS)
    before = {
        name: (process, sum(process.cpu_times()[:2])) for name, process in _processes(service)
    }
    time.sleep(_REST_SECONDS)
    for name, (process, seconds) in before.items():
        share = (sum(process.cpu_times()[:2]) - seconds) / _REST_SECONDS
        say(f"| the {name} at rest, of a core; memory | {share:.1%} | {_mib(process)} MiB |")


def _drop(service: Running, key: str) -> float:
    """Drop a capture; return the seconds until it is done, beyond the settle time."""
    started = time.monotonic()
    capture(service.data / "inbox" / key)
    assert eventually(
        lambda: (record := service.record(key)) and record.state is State.DONE, seconds=_SECONDS
    )
    return time.monotonic() - started - _SETTLE


def _pages(service: Running, browser: webdriver.Chrome, *, shown: str) -> None:
    pages = {
        "page of an asset, partitions": ("/assets/questdb_packets?view=partitions", shown),
        "partitions of the job": (
            "/locations/mt_pipeline/jobs/ingest_captures/partitions",
            "Total partitions",
        ),
        "runs": ("/runs", "View all tags"),
        "page of one capture": (
            "/assets/questdb_packets?view=partitions&partition=experiment0%2F000000.pcap",
            "rows_gone",
        ),
    }
    for name, (path, text) in pages.items():
        for which in ("first", "again"):
            with _timed(service, f"{name}, {which}"):
                browser.get(f"{service.ui}{path}")
                assert eventually(partial(_shows, browser, text), seconds=_SECONDS), name


def _shows(browser: webdriver.Chrome, text: str) -> bool:
    with suppress(Exception):  # the page redraws itself at any moment
        return text in browser.find_element(By.TAG_NAME, "body").text
    return False


def _backfill(service: Running, keys: list[str]) -> None:
    """Launch a backfill of captures as the UI does; cancel it as soon as a run of it begins."""
    backfill = {
        "assetSelection": [{"path": [asset]} for asset in STAGES],
        "partitionNames": keys,
    }
    name = f"backfill of {len(keys):,} captures"
    with _timed(service, f"{name}, to launch it"):
        launched = _ask(service, _LAUNCH, backfill=backfill)["launchPartitionBackfill"]
    assert "backfillId" in launched, launched
    id_ = launched["backfillId"]

    def has_begun() -> bool:
        runs = _ask(service, _RUNS_OF, id=id_)["runsOrError"]["results"]
        return any(run["status"] in ("STARTED", "SUCCESS") for run in runs)

    with _timed(service, f"{name}, until its first run begins"):
        assert eventually(has_begun, seconds=_SECONDS)
    _ask(service, _CANCEL, id=id_)


def _ask(service: Running, query: str, **variables: object) -> dict[str, dict[str, object]]:
    answer = requests.post(
        f"{service.ui}/graphql", json={"query": query, "variables": variables}, timeout=_SECONDS
    ).json()
    assert "errors" not in answer, answer
    return answer["data"]


@contextmanager
def _timed(service: Running, what: str) -> Iterator[None]:
    """Say how long a block takes, and the processor time of each process meanwhile."""
    started = time.monotonic()
    before = {name: (process, _processor(process)) for name, process in _processes(service)}
    yield
    seconds = time.monotonic() - started
    spent = ", ".join(
        f"{name} {share:.1f} s"
        for name, (process, earlier) in before.items()
        if (share := _processor(process) - earlier) >= 0.1
    )
    say(f"| {what} | {seconds:.1f} s | {spent} |")


def _processes(service: Running) -> list[tuple[str, psutil.Process]]:
    """Return the processes of a service that serve, and the page; the largest of each kind."""
    found: dict[str, psutil.Process] = {}
    for process in (*processes_of(service.data), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            command = " ".join(process.cmdline())
            for name, part in _KINDS.items():
                if part in command and (name not in found or _mib(process) > _mib(found[name])):
                    found[name] = process
    return list(found.items())


def _processor(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):  # the browser makes a new one for another site
        return sum(process.cpu_times()[:2])
    return 0.0


def _mib(process: psutil.Process) -> int:
    return process.memory_info().rss >> 20


def _peak(process: psutil.Process) -> int:
    """Return the MiB that a process had at most."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) >> 10


def _look(opened: dg.DagsterInstance, workspace: Workspace, what: str) -> None:
    time.sleep(0.2)
    started, before = time.monotonic(), used()
    result = tick(dg.build_sensor_context(instance=opened), workspace)
    say(f"| sensor, {what} | {time.monotonic() - started:.1f} s | {used() - before:.1f} s |")
    if isinstance(result, dg.SensorResult):
        opened.add_dynamic_partitions(
            captures.name or "",
            [
                key
                for request in result.dynamic_partitions_requests
                for key in request.partition_keys
            ],
        )
