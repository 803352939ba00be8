"""Celery's worker: `python -m mt_pipeline.service.celery_worker NAME SLOTS MEMORY`.

It imports the code, opens Dagster's instance and the ledger once, and forks a process for each run,
as `fork_origin.py` does on one machine. A run ends with the worker. Secrets come by the environment
and files, as to every process of ours.
"""

import os
import signal
import socket
import sys
import threading
from contextlib import redirect_stdout, suppress
from pathlib import Path

from celery import Celery, signals
from dagster import DagsterInstance, DagsterRunStatus
from dagster._cli.api import _execute_run_command_body
from dagster._utils.interrupts import setup_interrupt_handlers

from mt_pipeline import settings
from mt_pipeline.cluster import broker
from mt_pipeline.defs.launcher import HOST, WORKER, at_work
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service.preload import preload
from mt_pipeline.state.advisory import BusyError
from mt_pipeline.system import private
from mt_pipeline.system.processes import end_with_parent

_LOOK_SECONDS = 1.0
"""How often a run looks whether it was cancelled."""

_WAITING = {DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING}
_ENDED = {DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE}


def main(name: str, slots: str, memory: str) -> None:
    """Take runs until a signal."""
    private.files()
    preload()
    workspace = Workspace(settings.load().options())
    celery = broker.app(workspace.options)
    _define(celery, _opened(workspace), workspace.options, name)
    os.register_at_fork(after_in_child=end_with_parent)
    signals.setup_logging.connect(_leave_logging)
    worker = celery.Worker(
        hostname=f"worker@{name}",
        concurrency=int(slots),
        queues=broker.queues(int(memory)),
        max_tasks_per_child=1,
        optimization="fair",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


def _opened(workspace: Workspace) -> DagsterInstance:
    """Open what looks for its tables when it is opened, so that no run needs to.

    No connection stays open, as a process that is forked can use none.
    """
    _ = workspace.ledger
    assert workspace.options.state is not None  # noqa: S101  a cluster has it
    workspace.options.state.engine.dispose()
    instance = DagsterInstance.get()  # it connects when it is asked
    _ = instance.run_coordinator
    return instance


def _define(celery: Celery, instance: DagsterInstance, options: Options, name: str) -> None:
    tags = {HOST: socket.gethostname(), WORKER: name}

    @celery.task(name=broker.RUN)  # type: ignore[untyped-decorator]
    def run(run_id: str) -> None:
        """Take a run through, unless another process does, or has."""
        with suppress(BusyError), at_work(options, run_id):
            record = instance.get_run_by_id(run_id)
            if record is None or record.status not in _WAITING:
                return
            instance.add_run_tags(run_id, tags)
            if record.status is DagsterRunStatus.CANCELING:
                instance.report_run_canceled(record)
                return
            _execute(instance, run_id)


def _execute(instance: DagsterInstance, run_id: str) -> None:
    """Execute a run, as `dagster api execute_run` does, and interrupt it if it is cancelled."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    setup_interrupt_handlers()
    done = threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            with suppress(Exception):  # Postgres may be away; then the run has more to say of it
                now = instance.get_run_by_id(run_id)
                if now is None or now.status in _ENDED:
                    os.kill(os.getpid(), signal.SIGINT)
                    return

    looks = threading.Thread(target=look, daemon=True)
    looks.start()
    # The status of a run that fails by itself interrupts its last steps, too.
    with suppress(KeyboardInterrupt):
        try:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                _execute_run_command_body(run_id, instance, lambda _event: None, True)
        finally:
            done.set()
            looks.join()


def _leave_logging(**_: object) -> None:
    """Keep Celery from setting up logging: what runs say is Dagster's to print."""


if __name__ == "__main__":
    main(*sys.argv[1:])
