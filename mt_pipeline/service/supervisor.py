"""`mt-pipeline run`: QuestDB, Dagster and the explorer, started, watched, stopped.

QuestDB starts first and stops last; nothing waits for the explorer. The supervisor is our own
because process managers left orphans when they or their children were killed.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import requests
from filelock import Timeout

from mt_pipeline.backends.questdb import java
from mt_pipeline.errors import CommandError, SettingsError
from mt_pipeline.pipeline import providers, verify
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home, dagster_process, explorer_process
from mt_pipeline.service.dagster_process import HOST
from mt_pipeline.service.stop_signals import StopSignals
from mt_pipeline.settings import Settings
from mt_pipeline.state.postgres import Postgres
from mt_pipeline.system import private
from mt_pipeline.tshark.errors import FilterError, TsharkError
from mt_pipeline.web import token

START_SECONDS = 300
"""Many times what a start takes on an idle machine; a process that ends is noticed at once."""

Echo = Callable[[str], None]
Watched = dict[str, Callable[[], int | None]]
"""Programs by their names, each with what returns its exit status, or None while it runs."""

_READY = """
  Explorer         {explorer}
  Dagster UI       {ui}
  watched folder   {inbox}/<experiment>/
  QuestDB console  {console}

Copy a capture into the watched folder. Ctrl-C stops everything.
"""


class ServiceError(CommandError):
    """The service cannot start, or one of its programs ended by itself."""


def run(settings: Settings, *, echo: Echo) -> None:
    """Start the service and stay until a signal ends it.

    Args:
        settings: all of them.
        echo: prints a line.

    Raises:
        ServiceError: another service has the data folder, Dagster's port is taken, or a program
            ended by itself.
        ServerError: QuestDB cannot start.
        SettingsError: providers that can never work, or a filter that tshark refuses.
    """
    options = settings.options()
    providers.check(options)
    workspace = Workspace(options)
    _check_filter(workspace, options.filter)
    state = _check_cluster(options)
    home = dagster_home.prepare(options)
    stopped = threading.Event()
    watched: Watched = {}
    with ExitStack() as stack:
        stack.enter_context(_service_lock(workspace))
        private.tidy(options.temporary)
        _check_port(settings.dagster_port)
        signals = StopSignals(workspace.ledger, echo, stopped)
        stack.enter_context(signals.handled())
        if state and not _leads(settings, workspace, state, stopped, stack, echo):
            return
        if options.embeds_questdb:
            signals.questdb = True
            console = stack.enter_context(_questdb(workspace, watched, echo))
        else:
            console = _console(options)
        if stopped.is_set():
            return
        echo("starting Dagster")
        secret = token.load(home / token.FILE) if settings.ui_token else None
        signals.dagster = stack.enter_context(
            dagster_process.started(
                dagster_process.server(settings), settings, stopped=stopped, echo=echo
            )
        )
        watched["Dagster"] = signals.dagster.poll
        ui = f"http://{HOST}:{settings.dagster_port}"
        if _wait_for(ui, stopped, watched):
            ui = token.link(ui, secret) if secret else ui
            explorer = _explorer(settings, stack, echo)
            if state:
                signals.worker = True
                _work(settings, state, stack, echo)
            echo(_READY.format(ui=ui, explorer=explorer, inbox=settings.inbox_dir, console=console))
        while not stopped.wait(1):
            _check(watched)


def _check_filter(workspace: Workspace, display_filter: str) -> None:
    """Refuse a display filter that every capture would fail by.

    Without tshark each capture fails with that reason.
    """
    if not display_filter:
        return
    try:
        workspace.tshark.check_filter(display_filter)
    except FilterError as error:
        raise SettingsError(f"MT_FILTER: {error.shown}") from None
    except TsharkError:
        pass


def _check_cluster(options: Options) -> Postgres | None:
    """Refuse settings that several machines cannot share; return where their state is."""
    if options.broker_url is None:
        return None
    from mt_pipeline.service import cluster  # nobody with one machine needs it

    return cluster.check(options)


def _leads(
    settings: Settings,
    workspace: Workspace,
    state: Postgres,
    stopped: threading.Event,
    stack: ExitStack,
    echo: Echo,
) -> bool:
    """Become the head of the cluster; return False if the service was stopped meanwhile."""
    from mt_pipeline.service import cluster

    if not cluster.wait(workspace.options, stopped, echo):
        return False
    stack.enter_context(cluster.led(settings, workspace, state))
    return True


def _work(settings: Settings, state: Postgres, stack: ExitStack, echo: Echo) -> None:
    """Start the head's own worker, and say how another machine joins."""
    from mt_pipeline.service import cluster, worker

    if settings.slots != 0:
        stack.enter_context(worker.kept(settings, state, echo=echo))
    echo(f"another machine joins by `mt-pipeline worker --join {settings.data_dir}`")
    if names := cluster.of_this_machine_alone(settings.options()):
        echo(f"{' and '.join(names)}: other machines cannot reach this address of this one alone")


@contextmanager
def _service_lock(workspace: Workspace) -> Iterator[None]:
    """Lock the data folder."""
    try:
        with workspace.service_lock:
            yield
    except Timeout:
        raise ServiceError(
            f"another service runs on {workspace.options.data_dir}: "
            "stop it, or set MT_DATA_DIR to another folder"
        ) from None


@contextmanager
def _questdb(workspace: Workspace, watched: Watched, echo: Echo) -> Iterator[str]:
    """Start the embedded QuestDB and bring its tables up to date; yield its console."""
    echo("starting QuestDB")
    with workspace.start_questdb() as server:
        watched["QuestDB"] = server.poll
        workspace.bring_up_to_date(echo)
        if message := verify.after_a_crash(workspace):
            echo(message)
        yield f"http://{java.HOST}:{server.http_port}\n{' ' * 19}{workspace.logins.sign_in}"


def _explorer(settings: Settings, stack: ExitStack, echo: Echo) -> str:
    """Start the explorer, which nothing waits for; return its address, or why there is none."""
    if reason := explorer_process.in_the_way(settings):
        return f"none: {reason}"
    stack.enter_context(explorer_process.kept(settings, echo=echo))
    return explorer_process.link(settings)


def _console(options: Options) -> str:
    """Return the address of the console of a QuestDB that is not embedded."""
    if not options.has_questdb:
        return "none: MT_BACKENDS leaves QuestDB out"
    return f"http://{options.questdb_host}:{options.questdb_http_port}"


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServiceError(
                f"port {port} for the Dagster UI cannot be used ({error.strerror}): "
                "stop what listens there, or set MT_DAGSTER_PORT"
            ) from None


def _check(watched: Watched) -> None:
    for name, poll in watched.items():
        if (status := poll()) is not None:
            raise ServiceError(
                f"{name} ended by itself with status {status}; "
                "its messages are above, the service stops"
            )


def _wait_for(ui: str, stopped: threading.Event, watched: Watched) -> bool:
    """Wait until the UI answers; return False if the service was stopped meanwhile."""
    deadline = time.monotonic() + START_SECONDS
    with requests.Session() as session:
        session.trust_env = False  # no proxy for this machine
        while time.monotonic() < deadline:
            _check(watched)
            try:
                if session.get(f"{ui}/server_info", timeout=5).ok:
                    return True
            except requests.RequestException:
                pass
            if stopped.wait(0.3):
                return False
    raise ServiceError(
        f"Dagster does not answer at {ui} after {START_SECONDS} s; its messages are above"
    )
