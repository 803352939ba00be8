"""Dagster's processes as children of ours: their command, environment, and output."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import IO

from mt_pipeline.pipeline.files import reports_folder
from mt_pipeline.service.log_filter import without_traces
from mt_pipeline.service.preload import NO_THREADS
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline.system import private
from mt_pipeline.system.processes import bound, stop

HOST = "127.0.0.1"
GRACE = 20
"""Seconds for runs to end when the service stops: they record that they were cancelled."""

_DRAIN_SECONDS = 5
_QUIET_SECONDS = 1  # without a line: then the last error is complete
_MOST_LINES = 10_000  # that wait for a terminal; then Dagster waits, too

# Warnings of Dagster's own code are for its developers.
_SERVER = [sys.executable, "-W", "ignore", "-m", "mt_pipeline.service.dagster_server", "--local"]

# Dagster's processes wait a minute for one another. On a busy machine that is too short: a run that
# was about to begin shows as failed. The time to stop stays Dagster's default.
_TIMEOUTS = {"DAGSTER_GRPC_TIMEOUT_SECONDS": "900", "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "60"}


@contextmanager
def started(
    command: Sequence[str],
    settings: Settings,
    *,
    stopped: threading.Event,
    echo: Callable[[str], None],
    death_signal: str = "TERM",
) -> Iterator["subprocess.Popen[str]"]:
    """Start a program that uses Dagster's instance; stop it and what it starts at the end.

    Args:
        command: `server`, or another.
        settings: all of them.
        stopped: once it is set, output is no longer printed.
        echo: prints a line.
        death_signal: what the kernel sends it if this process dies.

    Yields:
        The process, which leads its group.
    """
    process = subprocess.Popen(
        bound(command, signal=death_signal),
        env={
            **_TIMEOUTS,
            **NO_THREADS,
            **os.environ,
            "DAGSTER_HOME": str(settings.dagster_home),
            **private.temporary(settings.options().temporary),
            **_paths(settings),
        },
        cwd=settings.dagster_home,  # in the project's Dagster warns of the dagster.yaml there
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        start_new_session=True,  # Ctrl-C reaches us alone, and we stop Dagster in order
    )
    relay = threading.Thread(
        target=_relay, args=(process, settings.data_dir, stopped, echo), daemon=True
    )
    relay.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            stopped.set()  # another program has ended, and what Dagster says of its own end is none
        stop(process, grace=GRACE)
        relay.join(_DRAIN_SECONDS)


def _relay(
    process: "subprocess.Popen[str]",
    data_dir: Path,
    stopped: threading.Event,
    echo: Callable[[str], None],
) -> None:
    """Print what Dagster prints, until the service stops.

    Sensors that tick while Dagster stops report long errors that are none.
    """
    if process.stdout is None:
        return
    for line in without_traces(_lines(process.stdout), data_dir=data_dir):
        # If our terminal is closed, read on: Dagster would block on a full pipe.
        with suppress(OSError):
            if not stopped.is_set():
                echo(line)


def _lines(stream: IO[str]) -> Iterator[str | None]:
    """Yield the lines of a stream as they come, and None if none has come for a while."""
    lines: Queue[str | None] = Queue(_MOST_LINES)

    def read() -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_QUIET_SECONDS)
        except Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def server(settings: Settings) -> list[str]:
    """Return the command of Dagster's web server, which starts code server and daemon.

    It says where the code is, and who may ask.
    """
    options = {
        "--workspace": PROJECT / "workspace.yaml",
        "--host": HOST,
        "--port": settings.dagster_port,
        "--reports": reports_folder(settings.data_dir),
        "--explorer": settings.explorer_port,
        "--hosts": ",".join(settings.ui_hosts),
        "--token": settings.ui_token,
    }
    return [*_SERVER, *(str(word) for option in options.items() for word in option)]


def _paths(settings: Settings) -> dict[str, str]:
    """Return variables with absolute paths: Dagster works in a folder of its own."""
    paths = {
        "MT_DATA_DIR": settings.data_dir,
        "MT_INBOX": settings.inbox_dir,
        "MT_OFFLINE_CITY_MMDB": settings.offline_city_mmdb,
        "MT_OFFLINE_APPS": settings.offline_apps,
        "MT_OFFLINE_ASN_MMDB": settings.offline_asn_mmdb,
        "MT_TRACKER_LISTS": ",".join(str(path) for path in settings.tracker_lists),
        "MT_PARTIES": settings.parties,
        "MT_DEVICES": settings.devices,
    }
    return {name: str(path) for name, path in paths.items() if path}
