"""Reports of experiments as pages of the web server: browsers open no file of a disk from a page of a server."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

_EXPERIMENT = re.compile(r"[a-z0-9_]{1,64}")
_HEADERS = {
    # As in the page's own head. The sandbox takes it off the site of its neighbours: whatever is in it, it can ask them for nothing.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox allow-popups",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # it is written anew, and holds addresses of people
}


def address(experiment: str) -> str:
    """Return where the report of an experiment is, below the address of the web server: also where a server of another port shows it."""
    return f"/reports/{experiment}.html"


def routes(folder: Path) -> list[Route]:
    """Serve the reports in a folder, to be read; who may ask is the business of the layers around.

    Args:
        folder: with a file `<experiment>.html` for each.
    """
    return [Route(address("{experiment}"), _shower(folder), methods=["GET"])]


def _shower(folder: Path) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        experiment = request.path_params["experiment"]
        if not _EXPERIMENT.fullmatch(experiment):
            return _missing(
                "That is no name of an experiment: names are of a-z, 0-9 and _, at most 64."
            )
        path = folder / f"{experiment}.html"
        if path.is_symlink() or not path.is_file():
            return _missing(
                f"There is no report of {experiment} here. Materialize the asset experiment_report for it, "
                f"or write one by `mt-pipeline report {experiment}`, which puts it into the current folder."
            )
        return FileResponse(path, media_type="text/html", headers=_HEADERS)

    return show


def _missing(sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", 404, _HEADERS)
