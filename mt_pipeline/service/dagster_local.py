"""Dagster's code server and daemon on one machine, as `dagster dev` starts them.

`dagster dev` itself is no use: nothing can be put in front of the web server that it starts.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient

from mt_pipeline.service import code_server
from mt_pipeline.system.processes import bound, stop

LOG_LEVEL = "warning"
"""A sensor that ticks every five seconds would fill the terminal at `info`."""
_GRACE = 60  # seconds, as `dagster dev` gives it
_LOOK_SECONDS, _LOAD_SECONDS = 5, 900


@contextmanager
def started(instance: DagsterInstance, workspace: str) -> Iterator[tuple[str, "Popen[bytes]"]]:
    """Start the daemon, and the code server, both processes of which start again if they end.

    Args:
        instance: that of DAGSTER_HOME.
        workspace: workspace file with the code.

    Yields:
        Workspace file with the code server, and the daemon.
    """
    # Dagster then reports code that does not load once, and in few lines.
    os.environ.update(DAGSTER_IS_DEV_CLI="1", DAGSTER_verbose="")
    code_server.use()
    file = Path(instance.root_directory, "code_server.yaml")
    with ProxyServerManager(instance, WorkspaceFileTarget([workspace]), LOG_LEVEL) as servers:
        locations = {"load_from": list(servers.get_code_server_specs())}
        file.write_text(json.dumps(locations))  # JSON is YAML
        command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", LOG_LEVEL]
        levels = ["--code-server-log-level", LOG_LEVEL]
        daemon = Popen(bound([*command, *levels, "-w", str(file)], signal="TERM"))
        with _code_loaded(locations["load_from"]):
            try:
                yield str(file), daemon
            finally:
                stop(daemon, grace=_GRACE)


@contextmanager
def _code_loaded(locations: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[None]:
    """Have the code loaded again if the process that has it ends.

    Dagster watches the process before it, which passes on what it is asked, and does not look at
    its child.
    """
    stopped = threading.Event()
    watches = [
        threading.Thread(target=_watch, args=(location["grpc_server"], stopped), daemon=True)
        for location in locations
    ]
    for watch in watches:
        watch.start()
    try:
        yield
    finally:
        stopped.set()


def _watch(server: Mapping[str, Any], stopped: threading.Event) -> None:
    client = DagsterGrpcClient(
        host=server["host"], port=server.get("port"), socket=server.get("socket")
    )
    misses = 0
    while not stopped.wait(_LOOK_SECONDS):
        try:
            client.ping("")
            misses = 0
        except DagsterUserCodeUnreachableError:
            misses += 1
        if misses == 2:  # once may be a restart that is going on
            misses = 0
            with suppress(DagsterUserCodeUnreachableError):
                client.reload_code(timeout=_LOAD_SECONDS)
