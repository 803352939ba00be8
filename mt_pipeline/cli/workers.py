"""Processes that run the job side by side for one terminal: a line of JSON in for each run, lines out for what is done.

`python -m mt_pipeline.cli.workers` is one of them. A worker that dies costs the capture at work, at most: the others of its run are run again,
those that waited for their load each by itself.
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
from mt_pipeline.pipeline.progress import ENDED
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home as instance
from mt_pipeline.system import terminal
from mt_pipeline.system.processes import bound, stop

GRACE = 20
"""Seconds for a worker to note that it was interrupted."""

_DONE = "null"


class WorkerError(Exception):
    """A worker cannot begin."""


def run_all(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    runs: Iterator[Sequence[str]],
    *,
    display_filter: str | None,
    workers: int,
    opening: AbstractContextManager[None],
    name: str = "",
) -> bool:
    """Run captures in processes of their own.

    Args:
        workspace: the rooms; its progress is told what all workers do.
        instance: Dagster's.
        runs: the captures of each run, neighbours among the partitions; taken from as workers become idle.
        display_filter: of all runs; the setting's if it is None.
        workers: how many work at once.
        opening: opens what they work with: it takes as long as they take to start, and need not be there before.
        name: of this terminal, whose lock it holds.

    Returns:
        Whether all were run; False if Ctrl-C ended it, which the workers have noted then.

    Raises:
        WorkerError: a worker ended before it began.
    """
    crew = _Crew(workspace, instance, runs, display_filter, name)
    with ExitStack() as stack:
        stack.callback(crew.end)
        for _ in range(workers):
            crew.hire()
        stack.enter_context(opening)
        stack.callback(crew.end)  # before what they work with is closed
        return crew.work()


class _Worker:
    """A process, and the captures of the run that it is at."""

    def __init__(
        self, display_filter: str | None, said: "SimpleQueue[tuple[_Worker, str]]"
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
        # Ctrl-C reaches us alone, and we stop them in order.
        self.process = subprocess.Popen(
            bound(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(said,), daemon=True)
        self._listener.start()

    def give(self, keys: Sequence[str]) -> None:
        """Let it run captures."""
        self.keys = list(keys)
        with suppress(BrokenPipeError):  # it is dead, and we hear that next
            print(json.dumps(self.keys), file=self.process.stdin, flush=True)

    def end(self) -> None:
        """End it, whatever it does."""
        stop(self.process, grace=0)
        self._listener.join()
        with suppress(BrokenPipeError), self.process:
            pass

    def _listen(self, said: "SimpleQueue[tuple[_Worker, str]]") -> None:
        for line in self.process.stdout or ():
            said.put((self, line.strip()))
        said.put((self, ""))


class _Crew:
    """The workers, and the runs that are still to be done."""

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
        self._again: deque[Sequence[str]] = deque()
        self._said: SimpleQueue[tuple[_Worker, str]] = SimpleQueue()

    def hire(self) -> _Worker:
        """Start a worker."""
        worker = _Worker(self._filter, self._said)
        self._workers.append(worker)
        return worker

    def work(self) -> bool:
        """Let the workers do all that is to be done; says whether they did, and Ctrl-C did not end it."""
        try:
            for worker in self._workers:
                self._occupy(worker)
            while any(worker.keys for worker in self._workers):
                self._hear()
        except KeyboardInterrupt:
            for worker in self._workers:
                worker.process.send_signal(SIGINT)
            for worker in self._workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(GRACE)
            return False
        return True

    def end(self) -> None:
        """End all workers, whatever they do."""
        while self._workers:
            self._workers.pop().end()

    def _hear(self) -> None:
        """Wait for what a worker says next, and see to it."""
        worker, line = self._said.get()
        if line == _DONE:
            worker.keys = []
            self._occupy(worker)
        elif line:
            self._workspace.progress(*json.loads(line))
        elif worker.keys:
            self._again += self._left(worker)
            worker.keys = []
            self._occupy(self.hire())

    def _occupy(self, worker: _Worker) -> None:
        """Give a worker something to do, if there is anything."""
        if keys := self._next():
            worker.give(keys)

    def _next(self) -> Sequence[str] | None:
        return self._again.popleft() if self._again else next(self._runs, None)

    def _left(self, dead: _Worker) -> list[list[str]]:
        """Find what a dead worker left: those at work, each once more by itself, and those of its run that were never begun."""
        ledger, status = self._workspace.ledger, dead.process.wait()
        unfinished = {record.key: record for record in ledger.unfinished()}
        records = [unfinished[key] for key in dead.keys if key in unfinished]
        # What another run has taken up by now is as if it was never begun: whoever comes to it waits for that one.
        at_work = {
            record.key: state
            for record in records
            if record.state is State.RUNNING and (state := ledger.retry(record))
        }
        never_begun = [record.key for record in records if record.key not in at_work]
        if never_begun == dead.keys:
            raise WorkerError(
                f"a process that was to ingest ended with status {status} before it began; its messages are above"
            )
        for run in {record.run for record in records if record.key in at_work and record.run}:
            end(ledger, self._instance, run)
        for key, state in at_work.items():
            if state is not State.WAITING:
                self._workspace.progress(key, ENDED, 0)
        once_more = ledger.requested(at_work, by=self._name)
        return [keys for keys in ([[key] for key in once_more] + [never_begun]) if keys]


def main() -> None:
    """Work until nothing more comes."""
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print is not for our reader
    workspace = Workspace(
        settings.load().options(), progress=lambda *event: print(json.dumps(event), file=said)
    )
    with (
        terminal.shown(),
        suppress(KeyboardInterrupt),
        instance.opened(workspace.options) as dagster,
    ):
        runner = Runner(
            workspace, dagster, display_filter=sys.argv[1] if len(sys.argv) > 1 else None
        )
        for line in sys.stdin:
            if not runner.run(json.loads(line)):
                break
            print(_DONE, file=said)


if __name__ == "__main__":
    main()
