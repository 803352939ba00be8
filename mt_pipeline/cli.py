"""`mt-pipeline`: the terminal's way to the same assets, ledger and Dagster instance.

Errors are one line on stderr, never a traceback. Exit codes: 0 all well, 1 something failed, 2 wrong usage. What a command does beyond
words is the module that it imports, such as `ingesting.py`; each is imported when it is needed, as Dagster takes a second to load.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from mt_pipeline import __version__, settings
from mt_pipeline.errors import CommandError

FAILED = 1


def _said(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty text: a variable that is not set, not all captures."""
    if value == "":
        raise click.BadParameter("it is empty")
    return value


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mt-pipeline")
def cli() -> None:
    """Network captures of experiments, turned into tables that people can ask questions of."""


@cli.command()
def run() -> None:
    """Run the service: QuestDB, the Dagster UI, and the watched folder."""
    from mt_pipeline import service

    service.run(settings.load(), say=click.echo)


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
        expired = "" if capture.packets_expired_at is None else ", expired: only flows are left"
        copy = f", the same bytes as {first[capture.key]}" if capture.key in first else ""
        click.echo(f"{capture.state:<8} {capture.key:<{width}}{numbers}{skipped}{expired}{copy}" + (f"  {capture.error}" if capture.error else ""))
    number = Counter(capture.state for capture in captures)
    said = [*(f"{number[state]:,} {state}" for state in State if number[state]), *ledger.progress().pace]
    click.echo(f"{len(captures):,} captures: {', '.join(said)}")


@cli.command()
@click.option("--capture", "key", callback=_said, help="Capture key: the path below the inbox.")
@click.option("--name", callback=_said, help="All captures of an experiment.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and end.")
def purge(key: str | None, name: str | None, *, yes: bool, dry_run: bool) -> None:
    """Remove what was made of captures: rows, files of all stages, partition, runs. The captures themselves stay."""
    from mt_pipeline.purging import plan, purge

    if (key is None) == (name is None):
        raise click.UsageError("say either --capture KEY or --name EXPERIMENT")
    planned = plan(settings.load(), key=key, experiment=name)
    click.echo("\n".join(planned.described()))
    if dry_run:
        return
    if not yes:
        click.confirm("Remove this?", abort=True)
    purge(planned, say=click.echo)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Say what would be given back, and end.")
def compact(*, dry_run: bool) -> None:
    """Give back the disk of rows that are gone; others may read meanwhile, and loads wait."""
    from mt_pipeline.defs.resources import Pipeline
    from mt_pipeline.questdb.compact import compact

    pipeline = Pipeline(settings.load())
    with pipeline.questdb():
        for one in compact(pipeline.database(), pipeline.loading_lock, dry_run=dry_run, say=click.echo):
            would = "would be" if dry_run else "were"
            click.echo(f"{one.table}: {one.rows:,} rows in {one.partitions:,} partitions, {one.bytes:,} bytes {would} given back")
            if one.rewritten and dry_run:
                click.echo(f"{one.table}: other rows live in {one.rewritten:,} of these: {one.needed:,} bytes must be free to write them anew")


@cli.command()
@click.argument("experiment", required=False, metavar="EXPERIMENT", callback=_said)
@click.option("--capture", "key", callback=_said, help="Only this capture: its path below the inbox.")
@click.option("--all", "everything", is_flag=True, help="All experiments.")
@click.option("--as-of", metavar="DATE", help="Load what was known on that day, or at that moment; nobody is asked.")
@click.option("--dry-run", is_flag=True, help="Say how many calls it would cost, and ask nobody.")
def refresh(experiment: str | None, key: str | None, as_of: str | None, *, everything: bool, dry_run: bool) -> None:
    """Bring the answers of loaded captures up to date; what changed is loaded again, without tshark."""
    from mt_pipeline import refreshing
    from mt_pipeline.defs.moment import MomentError

    if [experiment is not None, key is not None, everything].count(True) != 1:
        raise click.UsageError("say one of EXPERIMENT, --capture KEY and --all")
    if dry_run and as_of:
        raise click.UsageError("--as-of asks nobody, so --dry-run has nothing to say of it")
    try:
        if dry_run:
            refreshing.dry_run(settings.load(), experiment=experiment, capture=key, say=click.echo)
        elif not refreshing.run(settings.load(), experiment=experiment, capture=key, as_of=as_of, say=click.echo):
            sys.exit(FAILED)
    except MomentError as error:
        raise click.UsageError(str(error)) from None


@cli.command()
@click.option("--capture", "key", callback=_said, help="Capture key: the path below the inbox.")
@click.option("--name", callback=_said, help="All captures of an experiment.")
@click.option("--repair", is_flag=True, help="Have captures whose rows are not right loaded again: by the service, or the next ingest of the inbox.")
@click.option(
    "--hash",
    "hashed",
    is_flag=True,
    help="Read every file in the inbox, all documents and every column, too: longer, but it finds other bytes of the same size.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def verify(key: str | None, name: str | None, *, repair: bool, hashed: bool, as_json: bool) -> None:
    """Compare files, documents and rows with what the ledger says of them, and name every difference."""
    from mt_pipeline.defs.verification import numbered
    from mt_pipeline.verifying import verify

    if key is not None and name is not None:
        raise click.UsageError("say --capture or --name, not both")
    found, repaired = verify(settings.load(), key=key, experiment=name, repair=repair, hashed=hashed)
    if as_json:
        click.echo(json.dumps([{"key": one.key, "what": one.what, "rows": one.rows} for one in found], indent=2))
    else:
        for difference in found:
            click.echo(str(difference))
        again = f"; {repaired.again:,} capture{' is' if repaired.again == 1 else 's are'} loaded again" if repair else ""
        click.echo(numbered(found) + again + (f"; left, as somebody works on them: {repaired.busy:,}" if repaired.busy else ""))
    if found:
        sys.exit(FAILED)


@cli.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_context
def cache(context: click.Context, *, as_json: bool) -> None:
    """Look after the answers that are kept, also while runs go on; `cache` alone is `cache show`."""
    if context.invoked_subcommand is None:
        context.invoke(show, as_json=as_json)
    elif as_json:
        raise click.UsageError("say --json after `show`")


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show(*, as_json: bool) -> None:
    """Say what is kept of each provider, how old it is, and how often it was of use."""
    from mt_pipeline import caching

    shown = caching.show(settings.load())
    click.echo(json.dumps(shown.to_record(), indent=2) if as_json else "\n".join(shown.described()))


@cache.command()
def check() -> None:
    """Say what is damaged, if anything is, and mend nothing."""
    from mt_pipeline import caching

    if not caching.check(settings.load(), say=click.echo):
        sys.exit(FAILED)


@cache.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def export(file: Path) -> None:
    """Write all answers to a new file, one per line of JSON."""
    from mt_pipeline import caching

    click.echo(caching.export(settings.load(), file))


@cache.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="FILE_OR_FOLDER")
def import_(source: Path) -> None:
    """Take in the answers of `cache export`, or of the cache folder of MT_ProcessPKTs; twice does no harm."""
    from mt_pipeline import caching

    said, all_read = caching.take_in(settings.load(), source, say=lambda line: click.echo(line, err=True))
    click.echo(said)
    if not all_read:
        sys.exit(FAILED)


@cache.command()
@click.option("--older-than", "days", type=click.FloatRange(min=0), default=365, show_default=True, help="Days since they were last given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(days: float, *, yes: bool) -> None:
    """Drop old answers that a newer one of the same endpoint has replaced; the newest always stays."""
    from mt_pipeline import caching

    found = settings.load()
    old = caching.old(found, days=days)
    click.echo(f"{old:,} answers are older than {days:g} days and not the newest of their endpoint")
    if old and not yes:
        click.confirm("Drop these, and give their disk back?", abort=True)
    if old:
        click.echo(caching.prune(found, days=days))


@cli.command()
@click.argument("experiment", metavar="EXPERIMENT")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="By default report-EXPERIMENT.html in the current folder."
)
def report(experiment: str, output: Path | None) -> None:
    """Write a page about an experiment: one HTML file that needs no network.

    An earlier report there is replaced, another file is not.
    """
    from mt_pipeline.defs.resources import Pipeline
    from mt_pipeline.reporting import report

    pipeline = Pipeline(settings.load())
    with pipeline.questdb():
        written = report(pipeline, experiment, output)
    click.echo(f"{written.path}: {written.packets:,} packets of {written.captures:,} captures, {written.size:,} bytes")


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
    except CommandError as error:
        _end(str(error), FAILED)
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
