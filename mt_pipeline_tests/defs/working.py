"""A run in another process: it holds its lock and that of a capture which is at work, and goes on when the test says so."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline_tests.defs.test_sensors import Watch

SPAWN = multiprocessing.get_context("spawn")
SECONDS = 300
"""Enough for a process to begin on a machine that is busy with other tests."""


def _work(data: Path, folder: Path, key: str, run: str, orders: Connection) -> None:
    """Be a run: hold its lock and that of a capture, which is at work; then end both, as each order says."""
    ledger = Ledger(data / "ledger.sqlite")
    with ledger.lock(run):
        with ledger.lock(key):
            ledger.claim(capture_at(folder, key), run=run)
            orders.send("claimed")
            orders.recv()
            ledger.finish(key, sha256="0", documents="0", packets=2, rows=2, skipped={})
        orders.send("finished")
        orders.recv()
    orders.send("ended")
    orders.recv()


class Worker:
    """A run in another process, and what it is told."""

    def __init__(self, orders: Connection) -> None:
        self._orders = orders

    def heard(self, word: str) -> None:
        assert self._orders.poll(SECONDS), f"it did not say {word}"
        assert self._orders.recv() == word

    def told(self, word: str) -> None:
        """Let it go on, and wait until it has come so far."""
        self._orders.send("go on")
        self.heard(word)


@contextmanager
def working(watch: Watch, key: str, run: str) -> Iterator[Worker]:
    ours, its = SPAWN.Pipe()
    process = SPAWN.Process(
        target=_work, args=(watch.workspace.options.data_dir, watch.inbox, key, run, its)
    )
    process.start()
    try:
        worker = Worker(ours)
        worker.heard("claimed")
        yield worker
    finally:
        process.kill()
        process.join()
