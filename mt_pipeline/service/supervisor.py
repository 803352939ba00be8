"""`mt-pipeline run`: QuestDB and Dagster side by side, started, watched, stopped. QuestDB starts first and stops last.

A supervisor of our own, because process managers left orphans when they or their children were killed.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import requests
from filelock import FileLock, Timeout

from mt_pipeline.backends.questdb import java
from mt_pipeline.errors import CommandError, SettingsError
from mt_pipeline.pipeline import providers, verify
from mt_pipeline.pipeline.files import reports_folder
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import setup
from mt_pipeline.service.log_filter import without_traces
from mt_pipeline.service.stop_signals import StopSignals
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline.system import private
from mt_pipeline.system.processes import bound, stop
from mt_pipeline.tshark.errors import FilterError, TsharkError
from mt_pipeline.web import token

HOST = "127.0.0.1"
START_SECONDS = 300
"""Many times what it takes on an idle machine; a process that ends meanwhile is told at once."""
DAGSTER_GRACE = 20
"""Seconds for runs to end when the service stops: they note that they were cancelled."""


# Warnings of Dagster's own code are for its makers.
_DAGSTER = [sys.executable, "-W", "ignore", "-m", "mt_pipeline.service.dagster_server", "--local"]

# Between its own processes Dagster waits a minute for an answer, and then shows a run as failed that was about to begin: on a busy machine that is
# too short. What it does when it stops waits no longer than by itself.
_PATIENT = {"DAGSTER_GRPC_TIMEOUT_SECONDS": "900", "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "60"}

_READY = """
  Dagster UI       {ui}
  watched folder   {inbox}/<experiment>/
  QuestDB console  {console}{sign_in}

Copy a capture into the watched folder. Ctrl-C stops everything.
"""


class ServiceError(CommandError):
    """The service cannot start, or one of its programs ended by itself."""


def run(settings: Settings, *, say: Callable[[str], None]) -> None:
    """Start the service and stay until a signal ends it.

    Args:
        settings: all of them.
        say: told what happens, for the terminal.

    Raises:
        ServiceError: another service has the data folder, Dagster's port is taken, or a program ended by itself.
        ServerError: QuestDB cannot start.
        SettingsError: providers that can never work, or a display filter that tshark does not understand.
    """
    providers.check(settings.options())
    _check_filter(settings)
    ended = threading.Event()
    home = setup.prepare(settings.options())
    with ExitStack() as stack:
        stack.enter_context(_alone(settings))
        private.tidy(settings.data_dir)
        _check_port(settings.dagster_port)
        signals = StopSignals(Workspace(settings.options()).ledger, say, ended)
        stack.enter_context(signals.heard())
        watched: dict[str, Callable[[], int | None]] = {}
        workspace, sign_in = Workspace(settings.options()), ""
        if not settings.has_questdb:
            console = "none: MT_BACKENDS leaves QuestDB out"
        elif settings.questdb_host is None:
            signals.questdb = True
            say("starting QuestDB")
            database = stack.enter_context(workspace.start_questdb())
            watched["QuestDB"] = database.poll
            workspace.bring_up_to_date(say)
            if told := verify.after_a_crash(workspace):
                say(told)
            console = f"http://{java.HOST}:{database.http_port}"
            sign_in = f"\n{' ' * 19}{workspace.logins.sign_in}"
        else:
            console = f"http://{settings.questdb_host}:{settings.questdb_http_port}"
        if ended.is_set():
            return
        say("starting Dagster")
        secret = token.load(home / token.FILE) if settings.ui_token else None
        dagster = subprocess.Popen(
            bound([*_DAGSTER, *_options(settings)], signal="TERM"),
            env={
                **_PATIENT,
                **os.environ,
                "DAGSTER_HOME": str(home),
                **private.temporary(settings.data_dir),
                **_paths(settings),
            },
            cwd=home,  # in the project's folder Dagster warns of the dagster.yaml there
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in order
        )
        stack.callback(_relay(dagster, ended, say).join, 5)
        stack.callback(stop, dagster, grace=DAGSTER_GRACE)
        signals.dagster = dagster
        watched["Dagster"] = dagster.poll
        ui = f"http://{HOST}:{settings.dagster_port}"
        if _wait_for(ui, ended, watched):
            ui = token.link(ui, secret) if secret else ui
            say(_READY.format(ui=ui, inbox=settings.inbox_dir, console=console, sign_in=sign_in))
        while not ended.wait(1):
            _check(watched)


def _check_filter(settings: Settings) -> None:
    """Refuse a display filter that each capture would fail by; without a tshark each one says so itself."""
    if not settings.filter:
        return
    try:
        Workspace(settings.options()).tshark.check_filter(settings.filter)
    except FilterError as error:
        raise SettingsError(f"MT_FILTER: {error.shown}") from None
    except TsharkError:
        pass


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the data folder; the kernel lets go of it when we end, whatever ends us."""
    try:
        with FileLock(settings.data_dir / "service.lock", timeout=0):
            yield
    except Timeout:
        raise ServiceError(
            f"another service runs on {settings.data_dir}: stop it, or set MT_DATA_DIR to another folder"
        ) from None


def _relay(
    process: "subprocess.Popen[str]", ended: threading.Event, say: Callable[[str], None]
) -> threading.Thread:
    """Say what a program says, until it is told to stop: sensors that tick while Dagster stops report errors, at length, that are none."""

    def relay() -> None:
        for line in without_traces(line.rstrip("\n") for line in process.stdout or ()):
            with suppress(
                OSError
            ):  # whoever listened is gone: Dagster must still be read, or it would wait
                if not ended.is_set():
                    say(line)

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    return thread


def _options(settings: Settings) -> list[str]:
    """Say to Dagster's processes where the code is, and who may ask."""
    where = [
        "--workspace",
        str(PROJECT / "workspace.yaml"),
        "--host",
        HOST,
        "--port",
        str(settings.dagster_port),
    ]
    reports = ["--reports", str(reports_folder(settings.data_dir))]
    return [
        *where,
        *reports,
        "--hosts",
        ",".join(settings.ui_hosts),
        "--token",
        str(settings.ui_token),
    ]


def _paths(settings: Settings) -> dict[str, str]:
    """Say where things lie: Dagster works in a folder of its own, where a relative path would be another."""
    files = {
        "MT_OFFLINE_CITY_MMDB": settings.offline_city_mmdb,
        "MT_OFFLINE_APPS": settings.offline_apps,
        "MT_DEVICES": settings.devices,
    }
    return {
        name: str(path)
        for name, path in {
            "MT_DATA_DIR": settings.data_dir,
            "MT_INBOX": settings.inbox_dir,
            **files,
        }.items()
        if path
    }


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServiceError(
                f"port {port} for the Dagster UI cannot be used ({error.strerror}): stop what listens there, or set MT_DAGSTER_PORT"
            ) from None


def _check(watched: dict[str, Callable[[], int | None]]) -> None:
    for name, poll in watched.items():
        if (status := poll()) is not None:
            raise ServiceError(
                f"{name} ended by itself with status {status}; its messages are above, the service stops"
            )


def _wait_for(
    ui: str, ended: threading.Event, watched: dict[str, Callable[[], int | None]]
) -> bool:
    """Wait until the UI answers; False if the service was stopped meanwhile."""
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
            if ended.wait(0.3):
                return False
    raise ServiceError(
        f"Dagster does not answer at {ui} after {START_SECONDS} s; its messages are above"
    )
