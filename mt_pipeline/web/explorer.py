"""The way from Dagster's web server to the explorer, which listens on a port of its own."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mt_pipeline.web import addresses


def routes(port: int) -> list[Route]:
    """Return the route that sends browsers on. Middleware decides who may ask.

    Args:
        port: where the explorer listens.
    """
    return [Route(addresses.EXPLORER, _redirect(port), methods=["GET"])]


def _redirect(port: int) -> Callable[[Request], Awaitable[Response]]:
    async def redirect(request: Request) -> Response:
        return RedirectResponse(str(request.url.replace(port=port, path="/")), 307)

    return redirect
