"""The explorer's web server: `python -m mt_pipeline.service.explorer_server`.

compose.yml and `mt-pipeline run` start it. Its settings come from its environment alone, and not
from `.env`, so that it knows no secret that it was not given.
"""

import gc
import signal
import sys

import click
import uvicorn
from starlette.types import ASGIApp

from mt_pipeline import settings
from mt_pipeline.errors import CommandError, SettingsError
from mt_pipeline.explorer.app import OnlyGet, app
from mt_pipeline.explorer.files import Files
from mt_pipeline.explorer.listing import Links
from mt_pipeline.explorer.store import Store
from mt_pipeline.pipeline.provenance import made
from mt_pipeline.pipeline.session import session
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline.system import private
from mt_pipeline.web import token
from mt_pipeline.web.guard import Guard, hosts_of

_SHUTDOWN_SECONDS = 3  # for responses that are being sent
_MEGABYTE = 10**6
_NEW_OBJECTS = 50_000
"""So many make the garbage collector look. Rows on their way are fewer, and go by themselves."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def main(*, host: str) -> None:
    """Serve the explorer until a signal."""
    private.files()
    for asked in (signal.SIGTERM, signal.SIGINT):
        # uvicorn sends itself the signal again once all is closed.
        signal.signal(asked, lambda *_: sys.exit(0))
    try:
        loaded = settings.load(_env_file=None)
        served = guarded(loaded)
    except (SettingsError, CommandError) as error:
        raise click.ClickException(str(error)) from None
    # What is there by now stays, so the garbage collector need not look at it again and again while
    # rows are read: that took as long as all the rest of it.
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    uvicorn.run(
        served,
        host=host,
        port=loaded.explorer_port,
        log_level="error",  # pages of other sites can cause warnings, as by https://
        access_log=False,  # an address has what people look at, and may have the token
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


def guarded(loaded: Settings) -> ASGIApp:
    """Return the app of the settings, behind what decides who may ask."""
    workspace = Workspace(loaded.options())
    asked = session(workspace, as_reader=True)
    store = Store(asked, most=loaded.explorer_memory_mb * _MEGABYTE)
    temporary = workspace.options.temporary
    private.folder(temporary)
    files = Files(asked, temporary, lambda question: made(workspace, question))
    pages = app(store, files, _links(loaded, workspace))
    if loaded.ui_token:
        secret = token.load(loaded.dagster_home / token.FILE)
        pages = token.TokenGate(pages, token=secret, port=loaded.dagster_port)
    return OnlyGet(Guard(pages, hosts=hosts_of(loaded.explorer_port, loaded.ui_hosts)))


def _links(loaded: Settings, workspace: Workspace) -> Links:
    dagster = f"http://127.0.0.1:{loaded.dagster_port}"
    options = workspace.options
    if not options.has_questdb:
        return Links(dagster)
    console = f"http://{options.questdb_host or '127.0.0.1'}:{options.questdb_http_port}"
    embedded = options.questdb_host is None
    file = str(options.questdb_password_file) if embedded else None
    return Links(dagster, options.questdb_console or console, options.questdb_user, file)


if __name__ == "__main__":
    sys.exit(main())
