"""Reports of experiments as pages of the web server.

A browser does not open a local file from a link on a page of a server.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from mt_pipeline.web import addresses

_EXPERIMENT = re.compile(r"[a-z0-9_]{1,64}")
_HEADERS = {
    # The same as in the head of the page. The sandbox gives the page an origin of its own, so that
    # it can request nothing from this server.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-popups",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # reports change, and contain addresses of people
}


def routes(folder: Path) -> list[Route]:
    """Return the routes that serve the reports in a folder. Middleware decides who may read them.

    Args:
        folder: the folder with a file `<experiment>.html` for each experiment.
    """
    return [Route(addresses.report("{experiment}"), _endpoint(folder), methods=["GET"])]


def _endpoint(folder: Path) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        experiment = request.path_params["experiment"]
        if not _EXPERIMENT.fullmatch(experiment):
            return _missing(
                "That is no name of an experiment: names are of a-z, 0-9 and _, at most 64."
            )
        path = folder / f"{experiment}.html"
        if path.is_symlink() or not path.is_file():
            return _missing(
                f"There is no report of {experiment} here. "
                "Materialize the asset experiment_report for it, "
                f"or write one by `mt-pipeline report {experiment}`, "
                "which puts it into the current folder."
            )
        return FileResponse(path, media_type="text/html", headers=_HEADERS)

    return show


def _missing(message: str) -> Response:
    return PlainTextResponse(f"{message}\n", 404, _HEADERS)
