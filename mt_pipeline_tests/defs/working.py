"""A run in another process. It locks itself and a capture, and goes on when the test says so."""

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
    """Lock a run and a capture, then finish both, one step for each order."""
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
    """A run in another process."""

    def __init__(self, orders: Connection) -> None:
        self._orders = orders

    def expect(self, word: str) -> None:
        assert self._orders.poll(SECONDS), f"it did not send {word}"
        assert self._orders.recv() == word

    def proceed_to(self, word: str) -> None:
        """Let it go on, and wait until it has reached a step."""
        self._orders.send("go on")
        self.expect(word)


@contextmanager
def working(watch: Watch, key: str, run: str) -> Iterator[Worker]:
    ours, its = SPAWN.Pipe()
    process = SPAWN.Process(
        target=_work, args=(watch.workspace.options.data_dir, watch.inbox, key, run, its)
    )
    process.start()
    try:
        worker = Worker(ours)
        worker.expect("claimed")
        yield worker
    finally:
        process.kill()
        process.join()
