"""The work of `mt-pipeline ingest`: select captures, run what is new, stop in order on Ctrl-C."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Thread

import click

from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import shared_experiments
from mt_pipeline.cli.progress_bars import Bars
from mt_pipeline.cli.selection import Selected, WrongUsageError, captures_at, failed_captures
from mt_pipeline.cli.taken_captures import TakenCaptures
from mt_pipeline.cli.worker_count import worker_count
from mt_pipeline.errors import SettingsError
from mt_pipeline.pipeline import verify
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline.system.interrupts import end_now, heard, stopping
from mt_pipeline.tshark.errors import FilterError, TsharkMissing


def ingest(
    settings: Settings,
    places: Sequence[Path | str],
    *,
    name: str | None,
    display_filter: str | None,
    bars: Bars,
    failed: bool = False,
    dry_run: bool = False,
) -> bool:
    """Ingest files, folders, and captures that failed; print a line per capture.

    Args:
        settings: all of them.
        places: files and folders; URLs of objects, if the inbox is in a store.
        name: experiment of files from outside the inbox; with `failed`, the only experiment.
        display_filter: only packets that match become rows; None for the setting's.
        bars: for lines and progress.
        failed: ingest all captures that failed, too.
        dry_run: list how many captures each experiment would gain, and return.

    Returns:
        Whether all are loaded.

    Raises:
        UnknownNameError: `failed` with an experiment that does not exist.
        WrongUsageError: a name for a file of the inbox, or a filter that tshark refuses.
    """
    problems: list[str] = []
    selected = _select(settings, places, name=name, failed=failed, bars=bars, problems=problems)
    workspace = Workspace(settings.options())
    filter_ = settings.filter if display_filter is None else display_filter
    _check_filter(workspace, filter_)
    table = "packets_" if workspace.options.has_questdb else "parquet/packets/experiment="
    taken = TakenCaptures(workspace.ledger, filter_, bars, dry_run=dry_run, table=table)
    if workspace.has_crashed and not dry_run:
        _recover(workspace, bars)
    new = taken.new(selected)
    experiments = taken.experiments(new)
    # What a single file becomes is plain without a line.
    if dry_run or len(experiments) > 1 or any(item.in_folder for item in new):
        for line in experiments:
            bars.echo(line, err=not dry_run)
    if new and not dry_run:
        reporting = replace(workspace, progress=taken.show_progress)
        _run(reporting, new, taken, bars, display_filter=display_filter)
    return taken.all_loaded and not problems


def _select(
    settings: Settings,
    places: Sequence[Path | str],
    *,
    name: str | None,
    failed: bool,
    bars: Bars,
    problems: list[str],
) -> list[Selected]:
    """Return the files that the arguments mean, and print what could not be looked at."""
    selected: list[Selected] = []
    for place in places:
        selected += captures_at(settings.inbox_dir, place, name, problems)
    for problem in problems:
        bars.echo(f"refused: {problem}", err=True)
    if failed:
        records = Workspace(settings.options()).ledger.records()
        check_known(records, experiment=name)
        selected += failed_captures(settings.inbox_dir, records, name)
        if not selected:
            bars.echo(f"no capture{f' of {name}' if name else ''} has failed")
    elif not selected and not problems:
        raise WrongUsageError(f"no capture in {', '.join(map(str, places))}")
    shared = shared_experiments(item.capture.key for item in selected)
    for experiment, names in shared.items():
        bars.echo(f"note: {' and '.join(names)} share the table packets_{experiment}", err=True)
    return selected


def _check_filter(workspace: Workspace, display_filter: str) -> None:
    try:
        workspace.tshark.check_filter(display_filter)
    except FilterError as error:
        raise WrongUsageError(error.shown) from None
    except TsharkMissing as error:
        if workspace.options.tshark == "tshark":  # by default
            raise
        raise SettingsError(f"MT_TSHARK: {error}") from None


def _recover(workspace: Workspace, bars: Bars) -> None:
    """Compare the rows with the ledger after a stop that was not clean."""
    with _questdb(workspace, bars, {}):
        # No message: another process may have done it meanwhile.
        if message := verify.after_a_crash(workspace):
            bars.echo(message, err=True)


def _run(
    workspace: Workspace,
    new: Sequence[Selected],
    taken: TakenCaptures,
    bars: Bars,
    *,
    display_filter: str | None,
) -> None:
    """Run what is new: in this process if it is little, else in several."""
    waits: dict[str, bool] = {}
    workers = worker_count(new)
    with _interrupts(taken, bars, waits), workspace.ledger.lock(taken.name), _dagster_imported():
        questdb = _questdb(workspace, bars, waits)
        if workers > 1:
            from mt_pipeline.cli.ingest_runs import run_in_processes

            finished = run_in_processes(
                workspace,
                new,
                taken,
                display_filter=display_filter,
                workers=workers,
                services=questdb,
            )
        else:
            with questdb:
                from mt_pipeline.cli.ingest_runs import run_here

                finished = run_here(workspace, new, taken, display_filter=display_filter)
        if not finished:
            raise click.Abort


@contextmanager
def _dagster_imported() -> Iterator[None]:
    """Import Dagster while QuestDB starts: each takes a second or two."""
    thread = Thread(target=import_module, args=("mt_pipeline.cli.ingest_runs",))
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def _interrupts(taken: TakenCaptures, bars: Bars, waits: dict[str, bool]) -> Iterator[None]:
    """On Ctrl-C print what the command waits for; on a second one end at once."""

    def first() -> None:
        reasons = [name for name, waiting in waits.items() if waiting]
        if taken.unfinished:
            captures = f"{taken.unfinished:,} capture{'' if taken.unfinished == 1 else 's'}"
            reasons.insert(0, f"{captures} to be noted as cancelled")
        bars.echo(stopping(reasons), err=True)

    def again() -> None:
        bars.close()
        bars.echo(
            "mt-pipeline: ended at once; the same command takes up what was at work",
            err=True,
        )
        end_now()

    with heard(first, again):
        yield


@contextmanager
def _questdb(workspace: Workspace, bars: Bars, waits: dict[str, bool]) -> Iterator[None]:
    """Use QuestDB, and show that it takes a while to start and to stop.

    Args:
        workspace: the data folder.
        bars: for progress.
        waits: gets whether a command that stops waits for QuestDB.
    """
    waits["QuestDB"] = workspace.options.embeds_questdb
    bars.step("starting QuestDB" if workspace.options.embeds_questdb else "starting")
    with workspace.questdb() as started:
        waits["QuestDB"] = started
        bars.step("starting")
        try:
            yield
        finally:
            bars.step("stopping QuestDB" if started else "ending")
    waits["QuestDB"] = False
    bars.step("ending")
