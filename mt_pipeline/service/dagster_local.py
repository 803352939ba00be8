"""The processes of Dagster beside its web server on one machine: the code server and the daemon.

They are as `dagster dev` has them, which starts a web server that nothing can be put around.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.load_target import WorkspaceFileTarget

from mt_pipeline.system.processes import bound, stop

LOG_LEVEL = "warning"
"""Quiet: a sensor that ticks every five seconds would fill the terminal."""
_GRACE = 60  # seconds, as `dagster dev` gives it


@contextmanager
def started(instance: DagsterInstance, workspace: str) -> Iterator[tuple[str, "Popen[bytes]"]]:
    """Start the code server, which is started again should it end, and the daemon.

    Args:
        instance: that of DAGSTER_HOME.
        workspace: file that says where the code is.

    Yields:
        File of a workspace that says where the code server is, and the daemon.
    """
    # Code that does not load is reported once, and briefly.
    os.environ.update(DAGSTER_IS_DEV_CLI="1", DAGSTER_verbose="")
    file = Path(instance.root_directory, "code_server.yaml")
    with ProxyServerManager(instance, WorkspaceFileTarget([workspace]), LOG_LEVEL) as servers:
        found = {"load_from": list(servers.get_code_server_specs())}
        file.write_text(json.dumps(found))  # JSON is YAML, too
        command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", LOG_LEVEL]
        levels = ["--code-server-log-level", LOG_LEVEL]
        daemon = Popen(bound([*command, *levels, "-w", str(file)], signal="TERM"))
        try:
            yield str(file), daemon
        finally:
            stop(daemon, grace=_GRACE)
