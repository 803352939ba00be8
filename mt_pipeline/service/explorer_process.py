"""The explorer as a child of `mt-pipeline run` and `mt-pipeline explore`.

It knows what it needs to read, and no more: its environment is listed here.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import requests

from mt_pipeline.captures import s3_client
from mt_pipeline.captures.s3 import Bucket
from mt_pipeline.pipeline.logins import Logins
from mt_pipeline.settings import PREFIX, Settings
from mt_pipeline.system import private
from mt_pipeline.system.processes import bound, environment, stop
from mt_pipeline.web import token

HOST = "127.0.0.1"
GRACE = 5
"""Seconds for answers that are being sent when it is stopped."""

_AGAIN_SECONDS = 10
"""Before it starts again if it ended by itself."""
_COMMAND = [sys.executable, "-m", "mt_pipeline.service.explorer_server"]
_HANDED = (
    *("data_dir", "scratch_dir", "backends", "dagster_port", "explorer_port", "explorer_memory_mb"),
    *("ui_token", "ui_hosts", "tshark", "tshark_silence_seconds", "tshark_seconds"),
    *("tshark_memory_mb", "offline_city_mmdb", "offline_apps", "questdb_host"),
    *("questdb_http_port", "questdb_pg_port", "questdb_console", "questdb_user"),
    *("state_url", "broker_url"),
)
"""Settings that it gets as they are. None is a secret."""

_LIBPQ = ("HOME", "PGPASSFILE", "PGPASSWORD")
"""How libpq knows a password that no setting has."""

Echo = Callable[[str], None]


def address(settings: Settings) -> str:
    """Return the address of its page."""
    return f"http://{HOST}:{settings.explorer_port}"


def link(settings: Settings) -> str:
    """Return the link that opens its page; it signs in where a token is asked for."""
    if not settings.ui_token:
        return address(settings)
    secret = token.load(settings.dagster_home / token.FILE)
    return token.link(address(settings), secret)


def in_the_way(settings: Settings) -> str | None:
    """Return why its port cannot be used, and the cure; None if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, settings.explorer_port))
        except OSError as error:
            return (
                f"port {settings.explorer_port} for the explorer cannot be used "
                f"({error.strerror}): stop what listens there, or set MT_EXPLORER_PORT"
            )
    return None


def answers(settings: Settings) -> bool:
    """Return whether an explorer answers at its address."""
    with requests.Session() as session, suppress(requests.RequestException, ValueError):
        session.trust_env = False  # no proxy for this machine
        found = session.get(f"{address(settings)}/server_info", timeout=5)
        return found.ok and "mt_pipeline" in found.json()
    return False


@contextmanager
def kept(settings: Settings, *, echo: Echo) -> Iterator[None]:
    """Have the explorer running until the block ends; start it again if it ends by itself.

    Args:
        settings: all of them.
        echo: prints a line.
    """
    stopped = threading.Event()
    # The child ends with the thread that starts it.
    keeper = threading.Thread(target=_keep, args=(settings, stopped, echo), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopped.set()
        keeper.join()


def _keep(settings: Settings, stopped: threading.Event, echo: Echo) -> None:
    while not stopped.is_set():
        process = _start(settings)
        relay = threading.Thread(target=_relay, args=(process, stopped, echo), daemon=True)
        relay.start()
        try:
            while process.poll() is None and not stopped.wait(1):
                pass
        finally:
            stop(process, grace=GRACE)
        relay.join()
        if not stopped.is_set():
            echo(
                f"the explorer ended by itself with status {process.returncode}; "
                f"it starts again in {_AGAIN_SECONDS} s"
            )
            stopped.wait(_AGAIN_SECONDS)


def _start(settings: Settings) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        bound(_COMMAND, signal="TERM"),
        env=environment(*_outside(settings), **_environment(settings)),
        cwd=settings.data_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        start_new_session=True,  # Ctrl-C reaches us alone
    )


def _outside(settings: Settings) -> Iterable[str]:
    """Return the variables by which libraries sign in where it reads, besides the settings."""
    if settings.state_url:
        yield from _LIBPQ
    if isinstance(settings.inbox_dir, Bucket):
        yield from s3_client.variables()


def _environment(settings: Settings) -> dict[str, str]:
    """Return its settings as variables, with the password of the user who may only read."""
    values = {name: getattr(settings, name) for name in _HANDED}
    values["inbox"] = settings.inbox_dir
    if settings.state_password:  # the ledger is in Postgres then
        values["state_password"] = settings.state_password.get_secret_value()
    if settings.options().has_questdb:
        logins = Logins(settings.options())
        if reader := logins.reader:
            values |= {
                "questdb_reader": reader.name,
                "questdb_reader_password": reader.password,
            }
        else:  # a QuestDB of the user's own, without such a user
            values["questdb_password"] = logins.admin[1]
    return {
        **{
            f"{PREFIX}{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
            for name, value in values.items()
            if value not in (None, ())
        },
        **private.temporary(settings.options().temporary),
    }


def _relay(process: "subprocess.Popen[str]", stopped: threading.Event, echo: Echo) -> None:
    """Print what it prints, until the service stops."""
    if process.stdout is None:
        return
    for line in process.stdout:
        # If our terminal is closed, read on: the explorer would block on a full pipe.
        with suppress(OSError):
            if not stopped.is_set():
                echo(f"explorer: {line.rstrip()}")


def wait_until_it_answers(settings: Settings, *, seconds: float) -> bool:
    """Wait for an explorer that was started; return whether it answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answers(settings):
            return True
        time.sleep(0.1)
    return False
