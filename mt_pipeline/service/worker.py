"""`mt-pipeline worker`: takes runs of the cluster's head. The head has one of its own, too.

The runs are children of `celery_worker.py`, which is our child. It starts again if it ends by
itself. While Redis is away it waits.
"""

import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mt_pipeline.cluster import joining
from mt_pipeline.cluster.members import SIGN_SECONDS, Members, Versions, Worker
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import cluster, dagster_process
from mt_pipeline.service.cluster import ClusterError, Echo
from mt_pipeline.service.stop_signals import StopSignals
from mt_pipeline.settings import Settings
from mt_pipeline.state.postgres import Postgres, StateError
from mt_pipeline.system.processes import cores
from mt_pipeline.tshark.errors import TsharkError

_AGAIN_SECONDS = 10
"""Before it starts again if it ended by itself."""

_COMMAND = [sys.executable, "-W", "ignore", "-m", "mt_pipeline.service.celery_worker"]


def run(settings: Settings, *, echo: Echo) -> None:
    """Work for the head until a signal ends it.

    Args:
        settings: all of them.
        echo: prints a line.

    Raises:
        SettingsError: settings that several machines cannot share.
        ClusterError: this machine must not work for the head.
    """
    workspace = Workspace(settings.options())
    state = cluster.check(workspace.options)
    if settings.slots == 0:
        raise ClusterError("MT_SLOTS is 0: set it to 1 or more, as this worker would do nothing")
    try:
        _ = workspace.tshark
    except TsharkError as error:
        raise ClusterError(str(error)) from None
    if not (settings.data_dir / joining.FILE).exists():
        raise ClusterError(
            f"{settings.data_dir} is not the data folder of the head, which has a file "
            f"{joining.FILE}: mount it here, and start `mt-pipeline run` on the head first"
        )
    stopped = threading.Event()
    with StopSignals(workspace.ledger, echo, stopped).handled():
        if not cluster.wait(workspace.options, stopped, echo):
            return
        mine = cluster.versions(workspace)
        if not _wait_for_head(state, mine, stopped, echo):
            return
        with kept(settings, state, echo=echo) as worker:
            echo(f"{worker.name} works for the cluster, with {worker.slots} slots. Ctrl-C stops it")
            while not stopped.wait(SIGN_SECONDS):
                _refused(state, mine)


@contextmanager
def kept(settings: Settings, state: Postgres, *, echo: Echo) -> Iterator[Worker]:
    """Have a worker of this machine running until the block ends.

    Args:
        settings: all of them.
        state: where it says that it is there.
        echo: prints a line.
    """
    host = socket.gethostname()
    worker = Worker(
        f"{host}-{secrets.token_hex(3)}",
        host,
        cores() if settings.slots is None else settings.slots,
        Workspace(settings.options()).memory,
    )
    stopped = threading.Event()
    # The child ends with the thread that starts it.
    keeper = threading.Thread(
        target=_keep, args=(settings, Members(state), worker, stopped, echo), daemon=True
    )
    keeper.start()
    try:
        yield worker
    finally:
        stopped.set()
        keeper.join()


def _keep(
    settings: Settings, members: Members, worker: Worker, stopped: threading.Event, echo: Echo
) -> None:
    signs = _Signs(members, worker, echo)
    while not stopped.is_set():
        with dagster_process.started(
            [*_COMMAND, worker.name, str(worker.slots), str(worker.memory)],
            settings,
            stopped=stopped,
            echo=lambda line: echo(f"worker: {line}"),
            death_signal="KILL",  # it would wait for its runs
        ) as process:
            while process.poll() is None and not stopped.wait(1):
                signs.give()
        if not stopped.is_set():
            echo(
                f"the worker ended by itself with status {process.returncode}; "
                f"it starts again in {_AGAIN_SECONDS} s"
            )
            stopped.wait(_AGAIN_SECONDS)
    signs.end()


class _Signs:
    """Tells the others from time to time that a worker is there."""

    def __init__(self, members: Members, worker: Worker, echo: Echo) -> None:
        self._members, self._worker, self._echo = members, worker, echo
        self._next, self._is_away = 0.0, False

    def give(self) -> None:
        """Give a sign if it is time for one."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SIGN_SECONDS
        try:
            self._members.sign(self._worker)
        except StateError as error:
            if not self._is_away:
                self._echo(f"waits for Postgres: {error}")
            self._is_away = True
        else:
            self._is_away = False

    def end(self) -> None:
        """Say that it has ended; without Postgres the others find out by themselves."""
        try:
            self._members.leave(self._worker)
        except StateError as error:
            self._echo(f"Postgres was not told that this worker has ended: {error}")


def _wait_for_head(state: Postgres, mine: Versions, stopped: threading.Event, echo: Echo) -> bool:
    """Wait until there was a head; return False if that was stopped.

    Raises:
        ClusterError: the head has other versions.
    """
    said = False
    while not _refused(state, mine):
        if not said:
            echo("waits for the head: start `mt-pipeline run` there, with the same MT_STATE_URL")
        said = True
        if stopped.wait(cluster.AGAIN_SECONDS):
            return False
    return True


def _refused(state: Postgres, mine: Versions) -> bool:
    """Return whether there is a head that this machine may work for, as far as it can be known.

    Raises:
        ClusterError: the head has other versions.
    """
    try:
        head = Members(state).head()
    except StateError:
        return False
    if head and (reason := cluster.refusal(head, mine)):
        raise ClusterError(reason)
    return head is not None
