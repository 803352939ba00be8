"""What `export`, `cut` and `compare` share: options that choose rows, and the open data folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from mt_pipeline import settings
from mt_pipeline.cli.parameters import not_empty
from mt_pipeline.errors import CommandError

if TYPE_CHECKING:
    from mt_pipeline.api.session import Session
    from mt_pipeline.pipeline.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")

_WIDTH = 40

where = click.option(
    "--where",
    callback=not_empty,
    metavar="CONDITION",
    help="Such as \"tls_sni = 'example.com' and not protocol in (dns, mdns)\".",
)


def chosen(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that choose rows of an experiment."""
    for option in (
        click.option("--until", callback=not_empty, metavar="TIME", help="Before this time, UTC."),
        click.option(
            "--since",
            callback=not_empty,
            metavar="TIME",
            help="From this time on, UTC: 2026-03-01T10:00.",
        ),
        where,
    ):
        command = option(command)
    return command


@contextmanager
def opened() -> "Iterator[tuple[Workspace, Session]]":
    """Open the data folder of the settings, and have QuestDB running until the block ends.

    Raises:
        click.UsageError: a condition, a column or a time is not understood.
    """
    from mt_pipeline.api.where import WhereError
    from mt_pipeline.pipeline.session import session
    from mt_pipeline.pipeline.workspace import Workspace

    workspace = Workspace(settings.load().options())
    try:
        with session(workspace) as asked:
            yield workspace, asked
    except WhereError as error:
        raise click.UsageError(str(error)) from None


def first_cell(text: str) -> str:
    """Return a text in the width of the first column of a list, shortened if it is longer."""
    shown = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
    return f"{shown:{_WIDTH}}"


def check_free(output: Path, *, force: bool) -> None:
    """Refuse to replace a file, unless the user says so.

    Raises:
        CommandError: the file exists.
    """
    if output.exists() and not force:
        raise CommandError(
            f"{output} is there: it stays as it is; name another file, or replace it by --force"
        )
