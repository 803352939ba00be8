"""Processes that run the ingest job in parallel for one terminal.

`python -m mt_pipeline.cli.workers` is a worker. It reads a line of JSON for each run, and writes
lines of progress. A worker that dies costs at most the capture at work: the other captures of its
run run again, those that waited for their load each by itself.
"""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from queue import SimpleQueue
from signal import SIGINT

import dagster as dg

from mt_pipeline import settings
from mt_pipeline.captures.records import State
from mt_pipeline.cli.runner import Runner
from mt_pipeline.defs.recovery import end
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline.progress import ENDED
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline.system import terminal
from mt_pipeline.system.processes import bound, stop

GRACE = 20
"""Seconds for a worker to record that it was interrupted."""

_DONE = "null"


class WorkerError(CommandError):
    """A worker cannot begin."""


def run_all(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    runs: Iterator[Sequence[str]],
    *,
    display_filter: str | None,
    workers: int,
    services: AbstractContextManager[None],
    name: str = "",
) -> bool:
    """Run captures in several processes.

    Args:
        workspace: the data folder; its progress is called for all workers.
        instance: Dagster's.
        runs: keys of each run, neighbours among the partitions; idle workers get the next.
        display_filter: of all runs; None for the setting's.
        workers: number of processes.
        services: what the workers need; it starts while they start.
        name: of this command; the caller holds its lock.

    Returns:
        Whether all runs ended; False if Ctrl-C interrupted them, which the workers have recorded.

    Raises:
        WorkerError: a worker ended before it began.
    """
    crew = _Crew(workspace, instance, runs, display_filter, name)
    with ExitStack() as stack:
        stack.callback(crew.end)
        for _ in range(workers):
            crew.start_worker()
        stack.enter_context(services)
        stack.callback(crew.end)  # before the services stop
        return crew.work()


class _Worker:
    """A process, and the keys of its present run."""

    def __init__(
        self, display_filter: str | None, messages: "SimpleQueue[tuple[_Worker, str]]"
    ) -> None:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "mt_pipeline.cli.workers",
            *([] if display_filter is None else [display_filter]),
        ]
        self.keys: list[str] = []
        # Ctrl-C must reach this process alone, which stops the workers in order.
        self.process = subprocess.Popen(
            bound(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(messages,), daemon=True)
        self._listener.start()

    def assign(self, keys: Sequence[str]) -> None:
        """Start a run."""
        self.keys = list(keys)
        with suppress(BrokenPipeError):  # it has died, which the listener reports next
            print(json.dumps(self.keys), file=self.process.stdin, flush=True)

    def end(self) -> None:
        """Kill the process."""
        stop(self.process, grace=0)
        self._listener.join()
        with suppress(BrokenPipeError), self.process:
            pass

    def _listen(self, messages: "SimpleQueue[tuple[_Worker, str]]") -> None:
        for line in self.process.stdout or ():
            messages.put((self, line.strip()))
        messages.put((self, ""))


class _Crew:
    """The workers, and the runs that are still to do."""

    def __init__(
        self,
        workspace: Workspace,
        instance: dg.DagsterInstance,
        runs: Iterator[Sequence[str]],
        display_filter: str | None,
        name: str,
    ) -> None:
        self._name = name
        self._workers: list[_Worker] = []
        self._workspace, self._instance, self._runs, self._filter = (
            workspace,
            instance,
            runs,
            display_filter,
        )
        self._repeated: deque[Sequence[str]] = deque()
        self._messages: SimpleQueue[tuple[_Worker, str]] = SimpleQueue()

    def start_worker(self) -> _Worker:
        """Start a worker."""
        worker = _Worker(self._filter, self._messages)
        self._workers.append(worker)
        return worker

    def work(self) -> bool:
        """Let the workers do all runs; return False if Ctrl-C interrupted them."""
        try:
            for worker in self._workers:
                self._assign_next(worker)
            while any(worker.keys for worker in self._workers):
                self._handle_message()
        except KeyboardInterrupt:
            for worker in self._workers:
                worker.process.send_signal(SIGINT)
            for worker in self._workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(GRACE)
            return False
        return True

    def end(self) -> None:
        """Kill all workers."""
        while self._workers:
            self._workers.pop().end()

    def _handle_message(self) -> None:
        """Wait for the next message of a worker, and act on it."""
        worker, line = self._messages.get()
        if line == _DONE:
            worker.keys = []
            self._assign_next(worker)
        elif line:
            self._workspace.progress(*json.loads(line))
        elif worker.keys:
            self._repeated += self._unfinished_runs(worker)
            worker.keys = []
            self._assign_next(self.start_worker())

    def _assign_next(self, worker: _Worker) -> None:
        """Give a worker the next run, if there is one."""
        if keys := self._next():
            worker.assign(keys)

    def _next(self) -> Sequence[str] | None:
        return self._repeated.popleft() if self._repeated else next(self._runs, None)

    def _unfinished_runs(self, dead: _Worker) -> list[list[str]]:
        """Return the runs that a dead worker leaves.

        A capture that was at work gets a run of its own. Those that had not begun share one.
        """
        ledger, status = self._workspace.ledger, dead.process.wait()
        unfinished = {record.key: record for record in ledger.unfinished()}
        records = [unfinished[key] for key in dead.keys if key in unfinished]
        # A capture that another run has taken meanwhile counts as not begun: its run waits for
        # the other one.
        at_work = {
            record.key: state
            for record in records
            if record.state is State.RUNNING and (state := ledger.retry(record))
        }
        not_begun = [record.key for record in records if record.key not in at_work]
        if not_begun == dead.keys:
            raise WorkerError(
                f"a worker process ended with status {status} before it began; "
                "its messages are above"
            )
        for run in {record.run for record in records if record.key in at_work and record.run}:
            end(ledger, self._instance, run)
        for key, state in at_work.items():
            if state is not State.WAITING:
                self._workspace.progress(key, ENDED, 0)
        again = ledger.requested(at_work, by=self._name)
        return [keys for keys in ([[key] for key in again] + [not_begun]) if keys]


def main() -> None:
    """Do runs until stdin ends."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # other output must not mix with our messages
    workspace = Workspace(
        settings.load().options(), progress=lambda *event: print(json.dumps(event), file=messages)
    )
    with (
        terminal.shown(),
        suppress(KeyboardInterrupt),
        dagster_home.opened(workspace.options) as instance,
    ):
        runner = Runner(
            workspace, instance, display_filter=sys.argv[1] if len(sys.argv) > 1 else None
        )
        for line in sys.stdin:
            if not runner.run(json.loads(line)):
                break
            print(_DONE, file=messages)


if __name__ == "__main__":
    main()
