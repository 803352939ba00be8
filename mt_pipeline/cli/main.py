"""`mt-pipeline`: the terminal's way to the same assets, ledger and Dagster instance.

Errors are one line on stderr, never a traceback; what tshark says of a filter stands below it. What a command does beyond
words is the module that it imports, such as `ingesting.py`; each is imported when it is needed, as Dagster takes a second to load.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mt_pipeline import __version__, settings
from mt_pipeline.errors import CommandError, SettingsError
from mt_pipeline.system import private, terminal

if TYPE_CHECKING:
    from mt_pipeline.captures.records import State

FAILED = 1
WRONG_USAGE = 2
CANCELLED = 130
"""Exit status, as in the README; 130 is what shells have for Ctrl-C."""


class NewFile(click.Path):
    """A file that a command writes: its folder is there. A folder made silently would hide a misspelt one."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(
        self,
        value: "str | os.PathLike[str]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Take a path, and refuse one whose folder is not there."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            cure = (
                "is no folder: name another file"
                if path.parent.exists()
                else "is no folder yet: make it first, or name another file"
            )
            self.fail(f"{str(path.parent)!r} {cure}", param, ctx)
        return path


def _said(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty text: a variable that is not set, not all captures."""
    if value == "":
        raise click.BadParameter("it is empty")
    return value


def _known_states(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> "list[State]":
    """Take states by their names."""
    from mt_pipeline.captures.records import State
    from mt_pipeline.system.nearest import did_you_mean

    for value in values:
        if value not in list(State):
            meant = did_you_mean(value, map(str, State)) or ";"
            raise click.BadParameter(
                f"there is no state {value!r}{meant} say one of {', '.join(State)}"
            )
    return [State(value) for value in values]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mt-pipeline")
def cli() -> None:
    """Network captures of experiments, turned into tables that people can ask questions of.

    Exit status: 0 all well, 1 something failed, 2 wrong usage or a setting that cannot be used, 130 cancelled.
    """
    for sentence in settings.unknown():
        click.echo(f"mt-pipeline: warning: {sentence}", err=True)


@cli.command()
def run() -> None:
    """Run the service: QuestDB, the Dagster UI, and the watched folder."""
    from mt_pipeline.service import supervisor

    supervisor.run(settings.load(), say=click.echo)


@cli.command()
@click.argument(
    "paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="FILE_OR_FOLDER..."
)
@click.option(
    "--name",
    help="One experiment for all files from outside the inbox; by default named after their folders, or the file.",
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
    help="Say which experiments would have how many more captures, and end.",
)
def ingest(
    paths: Sequence[Path],
    name: str | None,
    display_filter: str | None,
    *,
    failed: bool,
    dry_run: bool,
) -> None:
    """Take captures from the file to readable rows; ends when they can be queried.

    A file from outside the inbox is not copied: a symbolic link to it appears there. The folders in a folder are experiments, as they are in the
    inbox; files directly in it are of one that is named after it. Of a folder, what is in already is left out.
    """
    if failed == bool(paths):
        raise click.UsageError(
            "say either files and folders, or --failed"
            if failed
            else "Missing argument 'FILE_OR_FOLDER...'"
        )
    loaded = settings.load()
    from mt_pipeline.cli.progress_bars import Bars

    with Bars() as bars:
        bars.step("starting")  # what comes next takes seconds to load
        from mt_pipeline.cli.ingest import ingest
        from mt_pipeline.cli.selection import WrongUsageError

        try:
            all_in = ingest(
                loaded,
                paths,
                name=name,
                display_filter=display_filter,
                bars=bars,
                failed=failed,
                dry_run=dry_run,
            )
        except WrongUsageError as error:
            raise click.UsageError(str(error)) from None
    if not all_in:
        sys.exit(FAILED)


@cli.command()
@click.option("--name", callback=_said, help="Only captures of this experiment.")
@click.option(
    "--state",
    "states",
    multiple=True,
    callback=_known_states,
    metavar="STATE",
    help="Only captures in this state; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def status(name: str | None, states: "Sequence[State]", *, as_json: bool) -> None:
    """Say what became of every capture; needs neither Dagster nor QuestDB."""
    from mt_pipeline.captures.ledger import Ledger
    from mt_pipeline.captures.records import Status
    from mt_pipeline.cli import status as listing

    file = settings.load().data_dir / "ledger.sqlite"
    ledger = Ledger(file) if file.exists() else None
    records = ledger.records() if ledger else []
    chosen = listing.chosen(records, experiment=name, states=states)
    if as_json:
        click.echo(json.dumps([asdict(Status.from_record(record)) for record in chosen], indent=2))
    elif ledger and records:
        for line in listing.lines(ledger, records, chosen):
            click.echo(line)
    else:
        click.echo(
            "no captures yet: copy one into the watched folder, or `mt-pipeline ingest FILE`"
        )


@cli.command()
@click.option(
    "--capture", "key", callback=_said, metavar="KEY", help="One capture: its path below the inbox."
)
@click.option("--name", callback=_said, metavar="EXPERIMENT", help="All captures of an experiment.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and end.")
def purge(key: str | None, name: str | None, *, yes: bool, dry_run: bool) -> None:
    """Remove what was made of captures.

    That is rows, files of all stages, partition, runs. The captures themselves stay.
    """
    from mt_pipeline.defs.partitions import captures, experiments, forget
    from mt_pipeline.pipeline.purge import make_room, plan, purge
    from mt_pipeline.pipeline.workspace import Workspace
    from mt_pipeline.service import dagster_home

    if (key is None) == (name is None):
        raise click.UsageError("say either --capture KEY or --name EXPERIMENT")
    workspace = Workspace(settings.load().options())
    planned = plan(workspace, key=key, experiment=name)
    click.echo("\n".join(planned.lines()))
    if dry_run:
        return
    if not yes:
        click.confirm("Remove this?", abort=True)
    make_room(planned)
    with dagster_home.opened(workspace.options) as instance, workspace.questdb():
        purge(
            planned,
            forget_capture=partial(forget, instance, captures),
            forget_experiment=partial(forget, instance, experiments),
            echo=click.echo,
        )


@cli.command()
@click.option("--dry-run", is_flag=True, help="Say what would be given back, and end.")
def compact(*, dry_run: bool) -> None:
    """Give back the disk of rows that are gone.

    Others may read meanwhile; loads wait.
    """
    from mt_pipeline.backends.questdb.compact import compact
    from mt_pipeline.pipeline.workspace import Workspace

    workspace = Workspace(settings.load().options())
    with workspace.questdb():
        for one in compact(
            workspace.database(), workspace.loading_lock, dry_run=dry_run, echo=click.echo
        ):
            would = "would be" if dry_run else "were"
            click.echo(
                f"{one.table}: {one.rows:,} rows in {one.partitions:,} partitions, {one.bytes:,} bytes {would} given back"
            )
            if one.rewritten and dry_run:
                click.echo(
                    f"{one.table}: other rows live in {one.rewritten:,} of these: {one.needed:,} bytes must be free to write them anew"
                )


@cli.command()
@click.argument("experiment", required=False, metavar="[EXPERIMENT]", callback=_said)
@click.option(
    "--capture",
    "key",
    callback=_said,
    metavar="KEY",
    help="Only this capture: its path below the inbox.",
)
@click.option("--all", "everything", is_flag=True, help="All experiments.")
@click.option(
    "--as-of",
    metavar="DATE",
    help="Load what was known on that day, or at that moment; nobody is asked.",
)
@click.option("--dry-run", is_flag=True, help="Say how many calls it would cost, and ask nobody.")
def refresh(
    experiment: str | None, key: str | None, as_of: str | None, *, everything: bool, dry_run: bool
) -> None:
    """Bring the answers of loaded captures up to date.

    What changed is loaded again, without tshark.
    """
    from mt_pipeline.cli import refresh as refreshing
    from mt_pipeline.pipeline.as_of import MomentError

    if [experiment is not None, key is not None, everything].count(True) != 1:
        raise click.UsageError("say one of EXPERIMENT, --capture KEY and --all")
    if dry_run and as_of:
        raise click.UsageError("--as-of asks nobody, so --dry-run has nothing to say of it")
    try:
        if dry_run:
            refreshing.dry_run(settings.load(), experiment=experiment, capture=key, say=click.echo)
        elif not refreshing.run(
            settings.load(), experiment=experiment, capture=key, as_of=as_of, say=click.echo
        ):
            sys.exit(FAILED)
    except MomentError as error:
        raise click.UsageError(str(error)) from None


@cli.command()
@click.option(
    "--capture", "key", callback=_said, metavar="KEY", help="One capture: its path below the inbox."
)
@click.option("--name", callback=_said, metavar="EXPERIMENT", help="All captures of an experiment.")
@click.option(
    "--repair",
    is_flag=True,
    help="Have captures whose rows are not right loaded again: by the service, or the next ingest of the inbox.",
)
@click.option(
    "--hash",
    "hashed",
    is_flag=True,
    help="Read every file in the inbox, all documents and every column, too: longer, but it finds other bytes of the same size.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def verify(key: str | None, name: str | None, *, repair: bool, hashed: bool, as_json: bool) -> None:
    """Find files and rows that are not as they should be.

    Files, documents and rows are compared with what the ledger says of them, and every difference is named.
    """
    from mt_pipeline.cli.verify import verify
    from mt_pipeline.pipeline.verify import count_text

    if key is not None and name is not None:
        raise click.UsageError("say --capture or --name, not both")
    found, repaired = verify(
        settings.load(), key=key, experiment=name, repair=repair, hashed=hashed
    )
    if as_json:
        click.echo(
            json.dumps(
                [{"key": one.key, "what": one.what, "rows": one.rows} for one in found], indent=2
            )
        )
    else:
        for difference in found:
            click.echo(str(difference))
        again = (
            f"; {repaired.again:,} capture{' is' if repaired.again == 1 else 's are'} loaded again"
            if repair
            else ""
        )
        click.echo(
            count_text(found)
            + again
            + (f"; left, as somebody works on them: {repaired.busy:,}" if repaired.busy else "")
        )
    if found:
        sys.exit(FAILED)


@cli.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.pass_context
def cache(context: click.Context, *, as_json: bool) -> None:
    """Look after the answers that are kept.

    This can be done while runs go on. `cache` alone is `cache show`.
    """
    if context.invoked_subcommand is None:
        context.invoke(show, as_json=as_json)
    elif as_json:
        raise click.UsageError("say --json after `show`")


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show(*, as_json: bool) -> None:
    """Say what is kept, and how often it was of use.

    A line for each provider says how many answers there are and how old they are.
    """
    from mt_pipeline.cli import cache as caching

    shown = caching.show(settings.load())
    click.echo(json.dumps(shown.to_record(), indent=2) if as_json else "\n".join(shown.described()))


@cache.command()
def check() -> None:
    """Say what is damaged, if anything is, and mend nothing."""
    from mt_pipeline.cli import cache as caching

    if not caching.check(settings.load(), say=click.echo):
        sys.exit(FAILED)


@cache.command()
@click.argument("file", type=NewFile(), metavar="FILE")
def export(file: Path) -> None:
    """Write all answers to a new file, one per line of JSON."""
    from mt_pipeline.cli import cache as caching

    click.echo(caching.export(settings.load(), file))


@cache.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="FILE_OR_FOLDER")
def import_(source: Path) -> None:
    """Take in answers of a file or a folder.

    That is a file of `cache export`, or the cache folder of MT_ProcessPKTs. Twice does no harm.
    """
    from mt_pipeline.cli import cache as caching

    said, all_read = caching.take_in(
        settings.load(), source, say=lambda line: click.echo(line, err=True)
    )
    click.echo(said)
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
    help="Days since they were last given.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(days: float, *, yes: bool) -> None:
    """Drop old answers that newer ones have replaced.

    The newest of each endpoint always stays.
    """
    from mt_pipeline.cli import cache as caching

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
    "--output",
    type=NewFile(),
    metavar="FILE",
    help="By default report-EXPERIMENT.html in the current folder; its folder must be there.",
)
def report(experiment: str, output: Path | None) -> None:
    """Write a page about an experiment.

    It is one HTML file that needs no network. An earlier report there is replaced, another file is not.
    """
    from mt_pipeline.pipeline.report import report
    from mt_pipeline.pipeline.workspace import Workspace
    from mt_pipeline.report.formatting import size

    workspace = Workspace(settings.load().options())
    with workspace.questdb():
        written = report(workspace, experiment, output)
    click.echo(
        f"{written.path}: {written.packets:,} packets of {written.captures:,} captures; the page itself is a file of {size(written.size)}"
    )


@terminal.shown()
def main() -> None:
    """Run the command line."""
    if (
        sys.getfilesystemencoding() != "utf-8"
    ):  # in a locale without UTF-8 Python would not know the names of files, nor would its children
        os.execve(  # noqa: S606
            sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"}
        )  # noqa: RUF100, S606
    private.files()
    try:
        cli(standalone_mode=False, prog_name="mt-pipeline")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mt-pipeline"
        first, _, below = error.format_message().partition("\n")
        _end(
            f"{first.rstrip('.')} (see `{command} --help`)" + (f"\n{below}" if below else ""),
            WRONG_USAGE,
        )
    except click.ClickException as error:
        _end(error.format_message(), FAILED)
    except CommandError as error:
        _end(str(error), FAILED)
    except click.Abort:
        _end("cancelled", CANCELLED)
    except SettingsError as error:
        _end(str(error), WRONG_USAGE)
    except Exception as error:
        from mt_pipeline.pipeline.failures import sentence

        _end(sentence(error), FAILED)


def _end(message: str, code: int) -> None:
    click.echo(f"mt-pipeline: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
