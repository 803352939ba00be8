"""`mt-pipeline ingest`: captures from anywhere through the same job, in this process, with a line for each."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from mt_pipeline import setup
from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture, CaptureError, OutsideInboxError, key_of, named_experiment, refusal_of_key, shared_experiments
from mt_pipeline.captures.records import State
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.settings import Settings
from mt_pipeline.tshark.command import FilterError


class WrongUsageError(Exception):
    """What was asked for cannot be meant."""


@dataclass(frozen=True)
class Wanted:
    """A file to ingest.

    Attributes:
        capture: what it is or will be.
        outside: where it lies, if that is outside the inbox.
        found: it was found in a folder, not named itself.
    """

    capture: Capture
    outside: Path | None
    found: bool


def ingest(settings: Settings, paths: Sequence[Path], *, name: str | None, display_filter: str | None) -> bool:
    """Ingest files and folders; says a line per capture, failures on stderr.

    Returns:
        Whether all are in.

    Raises:
        WrongUsageError: a name for a file of the inbox, a filter that tshark does not understand.
    """
    problems: list[str] = []
    wanted = [found for path in paths for found in _wanted(settings.inbox_dir, path, name, problems)]
    for problem in problems:
        click.echo(f"refused: {problem}", err=True)
    if not wanted and not problems:
        raise WrongUsageError(f"no capture in {', '.join(map(str, paths))}")
    for experiment, names in shared_experiments(want.capture.key for want in wanted).items():
        click.echo(f"note: {' and '.join(names)} share the table packets_{experiment}", err=True)
    with _progress() as progress:
        pipeline = Pipeline(settings, progress=progress)
        try:
            pipeline.tshark.check_filter(settings.filter if display_filter is None else display_filter)
        except FilterError as error:
            raise WrongUsageError(str(error)) from None
        with pipeline.questdb(), _dagster(settings) as instance:
            outcomes = [_one(pipeline, instance, want, display_filter) for want in wanted]
    return all(outcomes) and not problems


def _wanted(folder: Path, path: Path, name: str | None, problems: list[str]) -> Iterator[Wanted]:
    """Find the captures of an argument; a folder gives all that the watched folder would take of it, and adds to the problems what it would not."""
    if not path.is_dir():
        yield _file(folder, path, name, named_experiment(path.name), path.name, found=False)
        return
    walk = inbox.walk(path)
    problems += [*walk.problems, *(refused.reason for refused in walk.refused)]
    for found in sorted(walk.captures, key=lambda capture: capture.key):
        yield _file(folder, found.path, name, path.resolve().name, found.key, found=True)


def _file(folder: Path, path: Path, name: str | None, default: str, below: str, *, found: bool) -> Wanted:
    file = path.stat()
    try:
        key = key_of(folder, path)
    except OutsideInboxError:
        return Wanted(Capture(f"{name or default}/{below}", folder, file.st_size, file.st_mtime_ns), path.resolve(), found)
    if name is not None:
        raise WrongUsageError(f"{path} lies in the inbox, so its folder names its experiment; --name is for files from outside") from None
    return Wanted(Capture(key, folder, file.st_size, file.st_mtime_ns), None, found)


def _one(pipeline: Pipeline, instance: dg.DagsterInstance, want: Wanted, display_filter: str | None) -> bool:
    """Run the job for one capture, and say how it ended."""
    key = want.capture.key
    try:
        if reason := _no_capture(want):
            click.echo(f"refused: {reason}", err=True)
            return want.found  # a folder of captures may hold other things
        if want.outside:
            _check_free(want.capture.path, want.outside)
        # Noted first, so that the sensor, which sees the link a moment later, leaves it to us.
        pipeline.ledger.take(want.capture)
        if want.outside:
            _link(want.capture.path, want.outside)
    except CaptureError as error:
        click.echo(f"failed: {error}", err=True)
        return False
    instance.add_dynamic_partitions(captures.name or "", [key])
    config = {} if display_filter is None else {"filter": display_filter}
    result = (
        build_defs(pipeline=pipeline)
        .resolve_job_def("ingest_captures")
        .execute_in_process(
            instance=instance,
            partition_key=key,
            raise_on_error=False,
            # The terminal shows our lines; the run's log has all.
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, "ops": {"ingest": {"config": config}}},
        )
    )
    if _interrupted(result):
        raise click.Abort
    record = pipeline.ledger.get(key)
    if not result.success or record is None or record.state is not State.DONE:
        why = record.error if record and record.error else f"{key}: see run {result.run_id} in the Dagster UI"
        click.echo(f"failed: {why}", err=True)
        return False
    skipped = "".join(f", {count:,} skipped: {reason}" for reason, count in record.skipped.items())
    cut = ", cut inside its last packet" if record.cut else ""
    click.echo(f"{key}: {record.packets:,} packets, {record.rows:,} rows in packets_{record.experiment}{skipped}{cut}")
    return True


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Say whether Ctrl-C ended the run: Dagster takes it for the run alone, but the next capture must not begin."""
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error.cls_name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError") for error in errors if error)


def _no_capture(want: Wanted) -> str | None:
    """Say why the file cannot be a capture, None if it may be one."""
    file = replace(want.capture, key=str(want.outside)) if want.outside else want.capture
    return refusal_of_key(want.capture.key) or inbox.sniff(file)


def _check_free(link: Path, target: Path) -> None:
    """Make sure that the name is not that of another capture, whose record must stay as it is."""
    if os.path.lexists(link) and not (link.is_symlink() and link.resolve() == target):
        raise CaptureError(f"{target}: the inbox has another {link}; choose another --name, or rename the file")


def _link(link: Path, target: Path) -> None:
    if link.is_symlink():
        return
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    except OSError as error:
        raise CaptureError(f"{target}: no link to it can be made in the inbox ({error.strerror})") from None


@contextmanager
def _dagster(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of the service, so that what a terminal did shows in the UI."""
    os.environ["DAGSTER_HOME"] = str(setup.prepare(settings))
    with dg.DagsterInstance.get() as instance:
        yield instance


@contextmanager
def _progress() -> Iterator["_Bar"]:
    with ExitStack() as stack:
        yield _Bar(stack)


class _Bar:
    """A bar on stderr, if that is a terminal, for the capture and stage at work."""

    def __init__(self, stack: ExitStack) -> None:
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TransferSpeedColumn(), TimeElapsedColumn()
            self._progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        self._at: tuple[str, str] | None = None
        self._task = TaskID(0)

    def __call__(self, key: str, doing: str, done: int) -> None:
        if self._progress is None:
            return
        if self._at != (key, doing):
            if self._at:
                self._progress.remove_task(self._task)
            self._at, self._task = (key, doing), self._progress.add_task(f"{doing} {key}", total=None)
        self._progress.update(self._task, completed=done)
