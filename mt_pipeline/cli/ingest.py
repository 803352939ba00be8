"""`mt-pipeline ingest`: arguments and exit code. The work is `ingestion.py`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mt_pipeline import settings
from mt_pipeline.captures.naming import refusal_of_experiment
from mt_pipeline.captures.s3 import SCHEME
from mt_pipeline.cli.exit_codes import FAILED


def _experiment(
    _context: click.Context, _parameter: click.Parameter, name: str | None
) -> str | None:
    """Refuse a name that no file could be put below."""
    if name and (reason := refusal_of_experiment(name)):
        raise click.BadParameter(reason)
    return name


class _Place(click.ParamType[Path | str]):
    """A file or folder that exists, or the URL of an object."""

    name = "place"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        """Return a path, or a URL as it is."""
        if value.startswith(SCHEME):
            return value
        path = click.Path(exists=True, path_type=Path).convert(value, param, ctx)
        return Path(os.fsdecode(path))


@click.command()
@click.argument("places", nargs=-1, type=_Place(), metavar="FILE_OR_FOLDER...")
@click.option(
    "--name",
    callback=_experiment,
    help="One experiment for all files from outside the inbox; "
    "by default named after their folders, or the file.",
)
@click.option(
    "--filter", "display_filter", help="tshark display filter: only packets that match become rows."
)
@click.option(
    "--failed",
    is_flag=True,
    help="Instead of files: all captures that failed; with --name, those of one experiment.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="List how many captures each experiment would gain, and stop.",
)
def ingest(
    places: Sequence[Path | str],
    name: str | None,
    display_filter: str | None,
    *,
    failed: bool,
    dry_run: bool,
) -> None:
    """Load captures, and wait until their rows can be queried.

    A file from outside the inbox is not copied: the inbox gets a symbolic link to it. The folders
    in a folder are experiments, as they are in the inbox; files directly in it belong to an
    experiment that is named after it. Captures in a folder that are loaded already are left out.
    Of an inbox in a store, name objects and folders by their URLs, `s3://bucket/prefix/...`.
    """
    if failed == bool(places):
        raise click.UsageError(
            "name either files and folders, or --failed"
            if failed
            else "Missing argument 'FILE_OR_FOLDER...'"
        )
    loaded = settings.load()
    from mt_pipeline.cli.progress_bars import Bars

    with Bars() as bars:
        bars.step("starting")  # the next imports take seconds
        from mt_pipeline.cli import ingestion
        from mt_pipeline.cli.selection import WrongUsageError

        try:
            all_loaded = ingestion.ingest(
                loaded,
                places,
                name=name,
                display_filter=display_filter,
                bars=bars,
                failed=failed,
                dry_run=dry_run,
            )
        except WrongUsageError as error:
            raise click.UsageError(str(error)) from None
    if not all_loaded:
        sys.exit(FAILED)
