"""Dagster's code server, whose runs fork from a process that has imported the code already.

Dagster's own starts a new Python for each run, which imports for longer than a small capture takes.
`python -m mt_pipeline.service.code_server` takes the commands of `dagster`. What the runs fork from
is `fork_origin.py`; that it starts, ends and starts again is Python's `multiprocessing`.
"""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

from dagster._grpc import client, proxy_server, server, server_watcher
from dagster._grpc.__generated__ import dagster_api_pb2 as messages

from mt_pipeline.service.preload import NO_THREADS
from mt_pipeline.system.interrupts import ENDING

_SIGN_SECONDS = 5
_MODULE = "mt_pipeline.service.code_server"
_ORIGIN = "mt_pipeline.service.fork_origin"


class Server(server.DagsterApiServer):
    """Dagster's server, except for where its runs come from.

    Whatever watches, cancels and counts runs is Dagster's. Code that is loaded again is in a new
    server, and its runs fork from a new process.
    """

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_ORIGIN])
        self._mp_ctx = context  # type: ignore[assignment]
        os.environ.update(NO_THREADS)
        forkserver.ensure_running()  # it imports meanwhile; later, the first run would wait for it

    def ShutdownServer(
        self, request: messages.Empty, _context: object
    ) -> messages.ShutdownServerReply:
        """End once the requests and runs at work have ended."""
        ENDING.set()
        return super().ShutdownServer(request, _context)

    def cleanup(self) -> None:
        """Wait for what is at work; a signal ends this server."""
        ENDING.set()
        super().cleanup()


class Proxy(proxy_server.DagsterProxyApiServicer):
    """Dagster's process before the server, which starts it again to load code.

    It knows which server is behind it: web server and daemon ask for that each second.
    """

    _known: tuple[object, messages.GetServerIdReply] | None = None

    def GetServerId(self, request: messages.Empty, context: object) -> messages.GetServerIdReply:
        """Return the name of the server, which has another client once it is another one."""
        client, known = self._client, self._known
        if known is None or known[0] is not client:
            self._known = known = client, super().GetServerId(request, context)
        return known[1]


def use() -> None:
    """Have Dagster start this server instead of its own, from this process and from that one."""
    # Each second the process before this server tells it that it lives, and the web server asks
    # which server it is: half of what they do while nothing is at work. Without a sign for thirty
    # seconds a server ends.
    client.CLIENT_HEARTBEAT_INTERVAL = server_watcher.WATCH_INTERVAL = _SIGN_SECONDS
    server.DagsterApiServer = Server  # type: ignore[misc]
    proxy_server.DagsterProxyApiServicer = Proxy  # type: ignore[misc]
    server.get_python_environment_entry_point = _command  # type: ignore[attr-defined]


def _command(executable_path: str) -> list[str]:
    return [executable_path, "-m", _MODULE]


if __name__ == "__main__":
    from dagster._cli import main

    use()
    sys.exit(main())  # type: ignore[no-untyped-call]
