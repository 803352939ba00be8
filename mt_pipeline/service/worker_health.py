"""Whether a worker of this machine takes runs: `python -m mt_pipeline.service.worker_health DATA`.

Health checks of containers ask it. It says so by its exit status.
"""

import socket
import sys
from pathlib import Path

from mt_pipeline.cluster import joining
from mt_pipeline.cluster.members import Members
from mt_pipeline.state.postgres import StateError


def main(folder: str) -> int:
    """Return 0 if a worker of this machine has given a sign lately, and 1 if not.

    Args:
        folder: the data folder of the head.
    """
    host = socket.gethostname()
    state = joining.joined(Path(folder)).options().state
    try:
        hosts = {worker.host for worker in Members(state).workers()} if state else set[str]()
        return int(host not in hosts)
    except StateError:
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
