"""What tests of pages share: an app behind the layers, on a port of its own."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from mt_pipeline.web.guard import Guard, hosts_of
from mt_pipeline.web.token import TokenGate


@contextmanager
def serving(app: ASGIApp, *, token: str | None = None) -> Iterator[int]:
    """Serve an app behind the guard, and behind the token if given, on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    gate = app if token is None else TokenGate(app, token=token, port=port)
    server = uvicorn.Server(
        uvicorn.Config(Guard(gate, hosts=hosts_of(port)), log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def printing() -> Iterator[list[str]]:
    """Collect what uvicorn prints, which it hands to no other logger; once it has started."""
    lines: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("uvicorn.error"), Collecting(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
