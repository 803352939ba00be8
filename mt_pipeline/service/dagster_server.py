"""Dagster's web server behind our layers: `python -m mt_pipeline.service.dagster_server`.

Dagster has no login, does not check where a request comes from, and executes GraphQL mutations
that are sent by GET. compose.yml and `mt-pipeline run` start this server.
"""

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import Popen

import click
import uvicorn
from dagster import AssetKey, DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster._utils.log import configure_loggers
from dagster_shared.check import CheckError
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from mt_pipeline.service.dagster_local import LOG_LEVEL, started
from mt_pipeline.service.unusable_home import HomeError, named
from mt_pipeline.web import explorer, reports, token
from mt_pipeline.web.faults import Faults
from mt_pipeline.web.guard import Guard, hosts_of

_POLL_MILLISECONDS = 2000  # between two requests of a page, as in `dagster dev`
_SHUTDOWN_SECONDS = 3  # for responses that are being sent

_BY_POST = (
    "Refused: GraphQL is asked by POST, with JSON. "
    "What is sent by GET must change nothing, and a mutation would.\n"
)


class Webserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's web server without GraphQL by GET, except for its page to write queries."""

    def build_middleware(self) -> list[Middleware]:
        """Answer what Dagster's handlers cannot: they take for granted what they are sent."""
        ours = Middleware(Faults, of_senders=(CheckError,))
        return [ours, *super().build_middleware()]

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Answer requests by POST."""
        if request.method != "POST" and "text/html" not in request.headers.get("Accept", ""):
            return PlainTextResponse(_BY_POST, 405, {"Allow": "POST"})
        answer: Response = await super().graphql_http_endpoint(request)
        return answer


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, required=True, help="Port to listen on; browsers use it, too.")
@click.option("--workspace", "-w", required=True, help="File that says where the code is.")
@click.option("--hosts", default="", help="More names that browsers reach it by, comma-separated.")
@click.option("--token", "with_token", type=bool, default=False, help="Ask for a token.")
@click.option(
    "--reports",
    "reports_folder",
    type=click.Path(path_type=Path),
    help="Folder with reports of experiments, served below /reports/.",
)
@click.option("--explorer", "explorer_port", type=int, help="Port of the explorer, for links.")
@click.option("--local", is_flag=True, help="Start the code server and the daemon, too.")
def main(
    *,
    host: str,
    port: int,
    workspace: str,
    hosts: str,
    with_token: bool,
    reports_folder: Path | None,
    explorer_port: int | None,
    local: bool,
) -> None:
    """Serve Dagster's pages until a signal."""
    configure_loggers(log_level=LOG_LEVEL.upper() if local else "INFO")
    setup_interrupt_handlers()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        instance, daemon = stack.enter_context(_instance()), None
        if local:
            workspace, daemon = stack.enter_context(started(instance, workspace))
        instance.optimize_for_webserver(
            DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW
        )
        context = stack.enter_context(
            WorkspaceProcessContext(
                instance,
                version=__version__,
                workspace_load_target=WorkspaceFileTarget([workspace]),
                code_server_log_level=LOG_LEVEL,
            )
        )
        pages = Webserver(context, live_data_poll_rate=_POLL_MILLISECONDS).create_asgi_app()
        # Before Dagster's routes: its last one takes all paths.
        if reports_folder:
            pages.router.routes[:0] = reports.routes(reports_folder)
        if explorer_port:
            pages.router.routes[:0] = explorer.routes(explorer_port)
        app: ASGIApp = pages
        if with_token:
            secret = token.load(Path(instance.root_directory, token.FILE))
            app = token.TokenGate(app, token=secret, port=port)
        others = [name.strip() for name in hosts.split(",") if name.strip()]
        _serve(Guard(app, hosts=hosts_of(port, others)), host, port, daemon)


def _instance() -> DagsterInstance:
    """Open the instance, and read once what it opens later."""
    try:
        with named(Path(os.environ["DAGSTER_HOME"])):
            instance = DagsterInstance.get()
            instance.has_asset_key(AssetKey("none"))
    except HomeError as error:
        raise click.ClickException(str(error)) from None
    return instance


def _serve(app: ASGIApp, host: str, port: int, daemon: "Popen[bytes] | None") -> None:
    """Serve an app until a signal, or until the daemon ends by itself."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="error",  # pages of other sites can cause warnings, as by https://
            access_log=False,  # an address may have the token
            lifespan="off",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    )
    if daemon is None:
        server.run()
        return

    def watch() -> None:
        daemon.wait()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run()
    raise click.ClickException(f"the daemon of Dagster ended with status {daemon.poll()}")


if __name__ == "__main__":
    main()
