"""A run that loses the lock of a capture leaves rows and verdict to the run that has it now."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb import table_loader
from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.captures.records import State
from mt_pipeline.pipeline.batch import run_captures
from mt_pipeline.pipeline.failures import Failed
from mt_pipeline.pipeline.observer import StageDone
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline_tests.backends.questdb.parts import select
from mt_pipeline_tests.observers import Memory
from mt_pipeline_tests.pipelines import PACKETS, Lab
from mt_pipeline_tests.postgres import PASSWORD, Server

ONE_PACKET = "dns.flags.response == 0"


@dataclass
class Interrupted(Memory):
    """Calls a function once, after a stage."""

    after: str = ""
    then: Callable[[], None] = field(default=lambda: None)

    def stage_done(self, done: StageDone) -> None:
        super().stage_done(done)
        if done.asset == self.after:
            self.after = ""
            self.then()


@dataclass
class Where:
    """Where the state is, and how locks in it are lost."""

    settings: dict[str, object]
    lose: Callable[[Lab], None]


@pytest.fixture(params=["folder", "postgres"])
def where(request: pytest.FixtureRequest) -> Where:
    if request.param == "folder":
        return Where({}, lambda lab: remove_locks(lab.data / "ledger.locks"))
    server: Server = request.getfixturevalue("postgres_server")
    settings = {"state_url": server.state.url, "state_password": PASSWORD}
    return Where(settings, lambda _: server.cut())


def remove_locks(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def run(
    workspace: Workspace, key: str, name: str, memory: Memory | None = None, only: str = ""
) -> list[Failed]:
    with Run(workspace, memory or Memory(), id=name, display_filter=only) as opened:
        return run_captures(opened, [key])


def run_elsewhere(workspace: Workspace, key: str) -> list[Failed]:
    """Run a capture in a thread of its own: one thread may not wait for its own lock."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run, workspace, key, "second").result(120)


def loads(lab: Lab, key: str) -> list[tuple[int, bool]]:
    """Return the loads of the rows of a capture, and whether they are gone."""
    query = f"SELECT load, gone FROM captured_packets WHERE capture = '{key}'"
    return [(load, gone) for load, gone in select(lab.database, query)]


@pytest.mark.parametrize("stage", ["tshark_json", "netify_enrichment"])
def test_it_sends_no_row_and_writes_no_verdict(
    lab: Lab, where: Where, request: pytest.FixtureRequest, stage: str
):
    key = f"lost {stage} {request.node.callspec.id}/a.pcap"
    lab.put(key)
    first, second = lab.workspace(**where.settings), lab.workspace(**where.settings)

    def meanwhile() -> None:
        where.lose(lab)
        assert run_elsewhere(second, key) == []

    failed = run(first, key, "first", Interrupted(after=stage, then=meanwhile), ONE_PACKET)

    assert [(failure.key, failure.by_outage) for failure in failed] == [(key, False)]
    assert "its lock" in failed[0].reason
    record = first.ledger.get(key)
    assert (record.state, record.run, record.rows) == (State.DONE, "second", PACKETS)
    assert [gone for _, gone in loads(lab, key)] == [False] * PACKETS
    assert len({load for load, _ in loads(lab, key)}) == 1
    assert lab.inputs(experiment_of(key)) >= {record.documents}


def test_it_marks_no_row_as_gone(
    lab: Lab, where: Where, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    key = f"marked {request.node.callspec.id}/a.pcap"
    lab.put(key)
    first, second = lab.workspace(**where.settings), lab.workspace(**where.settings)
    wait, pending = table_loader.wait_until_readable, [True]

    def interrupted(*arguments: object) -> None:
        if pending:
            pending.clear()
            where.lose(lab)
            assert run_elsewhere(second, key) == []
        wait(*arguments)

    monkeypatch.setattr(table_loader, "wait_until_readable", interrupted)

    failed = run(first, key, "first", only=ONE_PACKET)

    assert [failure.key for failure in failed] == [key]
    record = first.ledger.get(key)
    assert (record.state, record.run, record.rows) == (State.DONE, "second", PACKETS)
    assert [gone for _, gone in loads(lab, key)] == [False] * PACKETS
