"""`mt-pipeline cache` and its commands: arguments, lines. The work is `stored_answers.py`."""

import json
import sys
from pathlib import Path

import click

from mt_pipeline import settings
from mt_pipeline.cli.exit_codes import FAILED
from mt_pipeline.cli.parameters import NewFile


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_context
def cache(context: click.Context, *, as_json: bool) -> None:
    """Look after the stored answers.

    You can do this while runs go on. `cache` alone is `cache show`.
    """
    if context.invoked_subcommand is None:
        context.invoke(show, as_json=as_json)
    elif as_json:
        raise click.UsageError("put --json after `show`")


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show(*, as_json: bool) -> None:
    """Show what is stored, and how often it was used.

    A line for each provider has how many answers there are and how old they are.
    """
    from mt_pipeline.cli import stored_answers

    summary = stored_answers.show(settings.load())
    click.echo(json.dumps(summary.to_record(), indent=2) if as_json else "\n".join(summary.lines()))


@cache.command()
def check() -> None:
    """Look for damage, and repair nothing."""
    from mt_pipeline.cli import stored_answers

    if not stored_answers.check(settings.load(), echo=click.echo):
        sys.exit(FAILED)


@cache.command()
@click.argument("file", type=NewFile(), metavar="FILE")
def export(file: Path) -> None:
    """Write all answers to a new file, one per line of JSON."""
    from mt_pipeline.cli import stored_answers

    click.echo(stored_answers.export(settings.load(), file))


@cache.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="FILE_OR_FOLDER")
def import_(source: Path) -> None:
    """Import answers from a file or a folder.

    That is a file of `cache export`, or the cache folder of MT_ProcessPKTs. To import it twice
    does no harm.
    """
    from mt_pipeline.cli import stored_answers

    line, all_read = stored_answers.take_in(
        settings.load(), source, echo=lambda line: click.echo(line, err=True)
    )
    click.echo(line)
    if not all_read:
        sys.exit(FAILED)


@cache.command()
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=365,
    show_default=True,
    metavar="DAYS",
    help="Days since a provider last gave them.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(days: float, *, yes: bool) -> None:
    """Delete old answers that newer ones have replaced.

    The newest of each endpoint always stays.
    """
    from mt_pipeline.cli import stored_answers

    loaded = settings.load()
    old = stored_answers.count_old(loaded, days=days)
    click.echo(f"{old:,} answers are older than {days:g} days and not the newest of their endpoint")
    if old and not yes:
        click.confirm("Delete these, and give their disk space back?", abort=True)
    if old:
        click.echo(stored_answers.prune(loaded, days=days))
