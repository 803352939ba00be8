"""Runs fork from a process that has imported the code; `test_supervisor.py` cancels one."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mt_pipeline.captures.records import State
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.pipelines import capture
from mt_pipeline_tests.services import (
    Running,
    at_work,
    eventually,
    processes_of,
    running,
    sleepers,
)

RELOAD = (
    'mutation {reloadRepositoryLocation(repositoryLocationName: "mt_pipeline") '
    "{...on WorkspaceLocationEntry{loadStatus locationOrLoadError{__typename}}}}"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("forks")) as started:
        yield started


def origins(service: Running) -> list[psutil.Process]:
    """Return the processes that runs fork from; a run has the same command line."""
    found = []
    for process in processes_of(service.data):
        with suppress(psutil.NoSuchProcess):  # others end meanwhile
            if "fork_origin" in str(process.cmdline()):
                found.append(process)
    return [process for process in found if process.parent() not in found]


def origin(service: Running) -> psutil.Process:
    assert eventually(lambda: len(origins(service)) == 1)
    return origins(service)[0]


def status(service: Running, run: str | None) -> object:
    found = service.query(f'{{runOrError(runId: "{run}") {{...on Run{{status}}}}}}')
    return found["runOrError"]["status"]


def done(service: Running, key: str) -> bool:
    record = service.record(key)
    return record is not None and record.state is State.DONE


def test_what_runs_fork_from_has_one_thread_and_opened_nothing(service: Running):
    capture(service.data / "inbox" / "first" / "a.pcap")
    assert eventually(lambda: done(service, "first/a.pcap"))
    process = origin(service)

    assert process.num_threads() == 1
    assert process.open_files() == []
    assert process.net_connections("inet") == []
    assert "Warning" not in service.output.read_text()


def test_a_killed_run_is_noticed_and_its_capture_asked_for_once_more(service: Running):
    record = at_work(service, "killed/slow.pcap")
    [run] = origin(service).children()
    run.kill()

    assert eventually(lambda: status(service, record.run) == "FAILURE")
    assert eventually(lambda: (again := service.record("killed/slow.pcap")) and again.attempts == 1)
    assert eventually(lambda: origin(service).children())
    assert eventually(lambda: len(sleepers(service)) == 1)
    [run] = origin(service).children()
    run.kill()
    assert eventually(lambda: service.record("killed/slow.pcap").state is State.FAILED)


def test_runs_end_with_what_they_fork_from_and_the_next_one_forks_from_a_new_one(service: Running):
    """Dagster would take a run for dead that goes on."""
    record = at_work(service, "orphan/slow.pcap")
    killed = origin(service)
    [run] = killed.children()
    killed.kill()

    assert eventually(lambda: not run.is_running())
    assert eventually(lambda: status(service, record.run) == "FAILURE")
    capture(service.data / "inbox" / "first" / "b.pcap")
    assert eventually(lambda: done(service, "first/b.pcap"))
    assert origin(service).pid != killed.pid


def test_code_that_is_loaded_again_is_what_the_next_run_works_with(tmp_path: Path):
    code = tmp_path / "code"
    shutil.copytree(PROJECT / "mt_pipeline", code / "mt_pipeline")
    for file in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(PROJECT / file, code)
    with running(tmp_path, PYTHONPATH=str(code)) as service:
        before = origin(service)
        capture(service.data / "inbox" / "kitchen" / "a.pcap")
        assert eventually(lambda: done(service, "kitchen/a.pcap"))
        changed = code / "mt_pipeline" / "pipeline" / "capture_run.py"
        changed.write_text(changed.read_text().replace(" packets, {", " packets in new code, {"))

        assert service.query(RELOAD)["reloadRepositoryLocation"] == {
            "loadStatus": "LOADED",
            "locationOrLoadError": {"__typename": "RepositoryLocation"},
        }
        capture(service.data / "inbox" / "kitchen" / "b.pcap", "other.example.com")
        assert eventually(lambda: done(service, "kitchen/b.pcap"))

        assert "2 packets in new code, 2 rows" in messages(service, "kitchen/b.pcap")
        assert eventually(lambda: not before.is_running())


def messages(service: Running, key: str) -> str:
    """Return what the log of a capture's run says."""
    record = service.record(key)
    assert record is not None
    found = service.query(
        f'{{logsForRun(runId: "{record.run}") '
        "{...on EventConnection{events{...on MessageEvent{message}}}}}"
    )
    return "\n".join(event.get("message", "") for event in found["logsForRun"]["events"])
