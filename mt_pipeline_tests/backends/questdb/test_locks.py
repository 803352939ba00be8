"""Loads share a lock; who wants it alone waits for them, and is not overtaken for ever."""

import fcntl
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb.locks import (
    FileLoadingLock,
    LoadingLock,
    PostgresLoadingLock,
)
from mt_pipeline.state.advisory import BusyError, Locks
from mt_pipeline.state.postgres import StateError
from mt_pipeline_tests.postgres import Server
from mt_pipeline_tests.services import eventually

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["folder", "postgres"])
def lock(request: pytest.FixtureRequest, tmp_path: Path) -> LoadingLock:
    if request.param == "folder":
        return FileLoadingLock(tmp_path / "data" / "loading.lock")
    server: Server = request.getfixturevalue("postgres_server")
    return PostgresLoadingLock(server.state)


def test_loads_share_it_and_who_wants_it_alone_comes_before_those_who_come_later(
    lock: LoadingLock,
):
    order: list[str] = []

    def alone() -> None:
        with lock.alone():
            order.append("alone")

    def shared() -> None:
        with lock.shared():
            order.append("shared")

    with ThreadPoolExecutor(2) as pool:
        with lock.shared(), lock.shared():
            waiting = pool.submit(alone)
            # It waits for us once it has the gate, where others wait, too.
            assert eventually(lambda: _is_kept(lock))
            later = pool.submit(shared)
            order.append("first")
        waiting.result(60)
        later.result(60)
    assert order == ["first", "alone", "shared"]


def _is_kept(lock: LoadingLock) -> bool:
    """Return whether somebody has the gate."""
    try:
        if isinstance(lock, PostgresLoadingLock):
            with Locks(lock.postgres, "loading").alone("gate", timeout=0):
                return False
        with lock.gate.open("wb") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BusyError, BlockingIOError):
        return True
    return False


def _hold(lock: LoadingLock, held: Event) -> None:
    with lock.shared():
        held.set()
        threading.Event().wait(600)


def test_a_killed_load_frees_it(lock: LoadingLock):
    held = SPAWN.Event()
    child = SPAWN.Process(target=_hold, args=(lock, held))
    child.start()
    assert held.wait(60)
    with ThreadPoolExecutor(1) as pool:

        def alone() -> None:
            with lock.alone():
                pass

        waiting = pool.submit(alone)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        child.kill()
        child.join()
        waiting.result(60)


def test_a_load_during_which_it_was_lost_is_an_error(postgres_server: Server):
    lock = PostgresLoadingLock(postgres_server.state)
    with (
        pytest.raises(StateError, match=r"the connection to .* was lost"),
        lock.shared(),
    ):
        postgres_server.cut()
