"""`mt-pipeline`: the terminal's way to the same assets, ledger and Dagster instance.

Errors are one line on stderr, never a traceback. Exit codes: 0 all well, 1 something failed, 2 wrong usage. What a command does beyond
words is `service.py`, `ingesting.py` and `purging.py`; each is imported when it is needed, as Dagster takes a second to load.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from mt_pipeline import __version__, settings

FAILED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mt-pipeline")
def cli() -> None:
    """Network captures of experiments, turned into tables that people can ask questions of."""


@cli.command()
def run() -> None:
    """Run the service: QuestDB, the Dagster UI, and the watched folder."""
    from mt_pipeline import service
    from mt_pipeline.questdb.java import ServerError

    try:
        service.run(settings.load(), say=click.echo)
    except (service.ServiceError, ServerError) as error:
        raise click.ClickException(str(error)) from None


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="FILE_OR_FOLDER...")
@click.option("--name", help="Experiment of files from outside the inbox; by default the folder's name, or the file's.")
@click.option("--filter", "display_filter", help="tshark display filter: only packets that match become rows.")
@click.option("--failed", is_flag=True, help="Instead of files: all captures that failed; with --name, those of one experiment.")
def ingest(paths: Sequence[Path], name: str | None, display_filter: str | None, *, failed: bool) -> None:
    """Take captures from the file to readable rows; ends when they can be queried.

    A file from outside the inbox is not copied: a symbolic link to it appears there. Of a folder, what is in already is left out.
    """
    from mt_pipeline.ingesting import ingest
    from mt_pipeline.wanted import WrongUsageError

    if failed == bool(paths):
        raise click.UsageError("say either files and folders, or --failed" if failed else "Missing argument 'FILE_OR_FOLDER...'")
    try:
        all_in = ingest(settings.load(), paths, name=name, display_filter=display_filter, failed=failed)
    except WrongUsageError as error:
        raise click.UsageError(str(error)) from None
    if not all_in:
        sys.exit(FAILED)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def status(*, as_json: bool) -> None:
    """Say what became of every capture; needs neither Dagster nor QuestDB."""
    from mt_pipeline.captures.copies import copies
    from mt_pipeline.captures.ledger import Ledger
    from mt_pipeline.captures.records import State

    file = settings.load().data_dir / "ledger.sqlite"
    ledger = Ledger(file) if file.exists() else None
    if as_json:
        click.echo(json.dumps([asdict(capture) for capture in (ledger.status() if ledger else [])], indent=2))
        return
    captures = ledger.records() if ledger else []
    if not ledger or not captures:
        click.echo("no captures yet: copy one into the watched folder, or `mt-pipeline ingest FILE`")
        return
    width, first = max(len(capture.key) for capture in captures), copies(captures)
    for capture in captures:
        numbers = "" if capture.rows is None else f"  {capture.packets:,} packets, {capture.rows:,} rows"
        skipped = "".join(f", {count:,} skipped: {reason}" for reason, count in capture.skipped.items())
        copy = f", the same bytes as {first[capture.key]}" if capture.key in first else ""
        click.echo(f"{capture.state:<8} {capture.key:<{width}}{numbers}{skipped}{copy}" + (f"  {capture.error}" if capture.error else ""))
    number = Counter(capture.state for capture in captures)
    said = [*(f"{number[state]:,} {state}" for state in State if number[state]), *ledger.progress().pace]
    click.echo(f"{len(captures):,} captures: {', '.join(said)}")


@cli.command()
@click.option("--capture", "key", help="Capture key: the path below the inbox.")
@click.option("--name", help="All captures of an experiment.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(key: str | None, name: str | None, *, yes: bool) -> None:
    """Remove what was made of captures: rows, files of all stages, partition, runs. The captures themselves stay."""
    from mt_pipeline.purging import NothingToPurgeError, plan, purge

    if (key is None) == (name is None):
        raise click.UsageError("say either --capture KEY or --name EXPERIMENT")
    try:
        planned = plan(settings.load(), key=key, experiment=name)
    except NothingToPurgeError as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n".join(planned.described()))
    if not yes:
        click.confirm("Remove this?", abort=True)
    purge(planned, say=click.echo)


def main() -> None:
    """Run the command line."""
    try:
        cli(standalone_mode=False, prog_name="mt-pipeline")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mt-pipeline"
        _end(f"{error.format_message().rstrip('.')} (see `{command} --help`)", 2)
    except click.ClickException as error:
        _end(error.format_message(), FAILED)
    except click.Abort:
        _end("cancelled", 130)
    except settings.SettingsError as error:
        _end(str(error), 2)
    except Exception as error:
        from mt_pipeline.defs.failures import sentence

        _end(sentence(error), FAILED)


def _end(message: str, code: int) -> None:
    click.echo(f"mt-pipeline: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
