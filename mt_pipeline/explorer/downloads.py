"""Sends files of views: made in threads of their own, two at a time, so that no view waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mt_pipeline.explorer import answers
from mt_pipeline.explorer.asked import Seen, see
from mt_pipeline.explorer.files import FORMATS, Files
from mt_pipeline.explorer.state import parse
from mt_pipeline.explorer.store import Store

_AT_ONCE = 2
_LOOK_SECONDS = 0.5
"""Between two looks whether the browser still waits."""
_BLOCK_BYTES = 1 << 18

Send = Callable[[Request], Awaitable[Response]]


class Downloads:
    """What answers requests for files.

    Args:
        store: the experiments.
        files: makes the files.
    """

    def __init__(self, store: Store, files: Files) -> None:
        self._store, self._files = store, files
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="download")

    def sending(self, name: str) -> Send:
        """Return what answers a request for one of FORMATS."""

        async def send(request: Request) -> Response:
            query, given_up = request.url.query, threading.Event()
            response = Response()

            def made() -> Response:
                nonlocal response
                seen = see(self._store, parse(query).view)
                headers = _headers(name, seen)
                if request.method == "HEAD":
                    response = Response(headers=headers)
                else:
                    file = self._files.write(name, seen, given_up)
                    response = StreamingResponse(_blocks(file), headers=headers)
                return response

            work = asyncio.get_running_loop().run_in_executor(self._pool, answers.of, made)
            try:
                while not (await asyncio.wait([work], timeout=_LOOK_SECONDS))[0]:
                    if await request.is_disconnected():
                        given_up.set()
            except asyncio.CancelledError:
                given_up.set()
                raise
            return work.result()

        return send


def _headers(name: str, seen: Seen) -> dict[str, str]:
    # Names of experiments have no letters that a header or a file could not have.
    held = seen.side.held
    of = held[0].experiment if len(held) == 1 else f"{len(held)}_experiments"
    return {
        "Content-Type": FORMATS[name],
        "Content-Disposition": f'attachment; filename="{of}_{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


async def _blocks(file: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield a file, and close it however that ends."""
    with file:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            yield block
