"""`mt-pipeline mcp`. The tools are in `mcp_server/`."""

import signal
import sys
from collections.abc import Callable
from threading import Thread

import click

from mt_pipeline.cli import questions
from mt_pipeline.errors import CommandError
from mt_pipeline.system.interrupts import end_now
from mt_pipeline.system.terminal import raw


@click.command()
def mcp() -> None:
    """Answer questions of an assistant over MCP, on standard input and output.

    It only reads. An assistant starts it; what a person types is not understood.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: QuestDB stops before
    try:
        from mt_pipeline.mcp_server.server import build
    except ModuleNotFoundError as error:
        package = (error.name or "mcp").partition(".")[0]
        raise CommandError(
            f"the Python package {package} is missing, which `mt-pipeline mcp` needs: "
            "`pip install 'mt_pipeline[mcp]'` installs it"
        ) from None
    from mt_pipeline.mcp_server.tools import Tools
    from mt_pipeline.pipeline.failures import sentence

    if sys.stdin.isatty():
        click.echo("mt-pipeline: waiting for a program that speaks MCP; Ctrl-C ends", err=True)
    with questions.opened() as (workspace, session):
        folder = workspace.options.data_dir
        server = build(Tools(session), lambda error: sentence(error, folder=folder))
        sys.stdout = raw(sys.stdout)  # messages are JSON, in which answers are visible already
        is_reading = _interrupted(lambda: server.run("stdio"))
        # Whoever started us may wait two seconds only, and QuestDB may take longer to stop.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if is_reading:
        end_now()


def _interrupted(serve: Callable[[], None]) -> bool:
    """Serve until the input ends or a signal comes.

    Returns:
        Whether it was a signal: then a thread still reads the input, and nothing can wake it.
    """
    errors: list[Exception] = []

    def work() -> None:
        try:
            serve()
        except Exception as error:
            errors.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        return True
    if errors:
        raise errors[0]
    return False
