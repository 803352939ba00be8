"""`mt-pipeline state` and its command `move`: arguments, lines. The work is `state_move/`."""

import time

import click

from mt_pipeline import settings
from mt_pipeline.errors import SettingsError

_FOLDER = "folder"
_SECONDS = 2
"""Between two lines of progress."""


@click.group()
def state() -> None:
    """Move the state: what became of each capture, answers, counted calls."""


@state.command()
@click.option(
    "--to",
    required=True,
    metavar="URL",
    help="The Postgres that shall have it, as for MT_STATE_URL; `folder` moves it back.",
)
def move(to: str) -> None:
    """Move the state of the data folder to a Postgres, or back.

    Stop the service before. What is moved also stays where it is.
    """
    from mt_pipeline.pipeline.state_move.move import move
    from mt_pipeline.pipeline.workspace import Workspace

    options = settings.load().options()
    target = None
    if to != _FOLDER:
        try:
            target = settings.load(state_url=to).options().state
        except SettingsError:  # the address may have a password
            raise click.UsageError(
                "--to is postgresql://user@host/database, without a password, "
                f"or `{_FOLDER}` for the data folder"
            ) from None
    told = time.monotonic()

    def progress(what: str, count: int) -> None:
        nonlocal told
        if time.monotonic() > told + _SECONDS:
            told = time.monotonic()
            click.echo(f"{count:,} {what} so far", err=True)

    counts = move(Workspace(options), target, progress=progress)
    click.echo(f"{target or options.data_dir} has all of it:")
    for part, count in counts.items():
        click.echo(f"  {count:,} {part}")
    click.echo(
        f"Now set MT_STATE_URL={to}, with MT_STATE_PASSWORD as for this command. "
        f"The files in {options.data_dir} stay as they are, and are not used any more."
        if target
        else f"Now take MT_STATE_URL away. The tables in {options.state} stay as they are."
    )
