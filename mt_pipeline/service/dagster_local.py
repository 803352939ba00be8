"""Dagster's code server and daemon on one machine, as `dagster dev` starts them.

`dagster dev` itself is no use: nothing can be put in front of the web server that it starts.
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
"""A sensor that ticks every five seconds would fill the terminal at `info`."""
_GRACE = 60  # seconds, as `dagster dev` gives it


@contextmanager
def started(instance: DagsterInstance, workspace: str) -> Iterator[tuple[str, "Popen[bytes]"]]:
    """Start the daemon, and the code server, which starts again if it ends.

    Args:
        instance: that of DAGSTER_HOME.
        workspace: workspace file with the code.

    Yields:
        Workspace file with the code server, and the daemon.
    """
    # Dagster then reports code that does not load once, and in few lines.
    os.environ.update(DAGSTER_IS_DEV_CLI="1", DAGSTER_verbose="")
    file = Path(instance.root_directory, "code_server.yaml")
    with ProxyServerManager(instance, WorkspaceFileTarget([workspace]), LOG_LEVEL) as servers:
        locations = {"load_from": list(servers.get_code_server_specs())}
        file.write_text(json.dumps(locations))  # JSON is YAML
        command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", LOG_LEVEL]
        levels = ["--code-server-log-level", LOG_LEVEL]
        daemon = Popen(bound([*command, *levels, "-w", str(file)], signal="TERM"))
        try:
            yield str(file), daemon
        finally:
            stop(daemon, grace=_GRACE)
