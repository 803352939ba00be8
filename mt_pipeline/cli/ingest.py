"""`mt-pipeline ingest`: what is still to be done of the captures that are meant, cut into runs, and a line for each that is in or is not.

Which are meant is `wanted.py`; who runs them is `launching.py`, and `workers.py` if they are many.
"""

import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from pathlib import Path

import click
import dagster as dg

from mt_pipeline.captures import inbox
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import CaptureError, refusal_of_key, shared_experiments
from mt_pipeline.captures.records import NO_FILE, LedgerError, Record, State
from mt_pipeline.cli.progress_bars import Bars
from mt_pipeline.cli.runner import Runner
from mt_pipeline.cli.selection import Wanted, WrongUsageError, of_failed, of_path
from mt_pipeline.cli.workers import run_all
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import BYTES_PER_RUN, CAPTURES_PER_RUN, batches, places, stretches
from mt_pipeline.pipeline import verify
from mt_pipeline.pipeline.failures import failed
from mt_pipeline.pipeline.progress import ENDED, WAITING
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings
from mt_pipeline.system.interrupts import end_now, heard, stopping
from mt_pipeline.system.processes import cores
from mt_pipeline.tshark.errors import FilterError

FEW = 10
"""So many small captures are sooner done in this process than others are started, and each has a run of its own, which `purge` can take out."""


def ingest(
    settings: Settings,
    paths: Sequence[Path],
    *,
    name: str | None,
    display_filter: str | None,
    bars: Bars,
    failed: bool = False,
    dry_run: bool = False,
) -> bool:
    """Ingest files and folders, or what failed; says a line per capture, failures on stderr.

    Args:
        settings: all of them.
        paths: files and folders.
        name: experiment of files from outside the inbox; of what failed, the only one that is meant.
        display_filter: only packets that match become rows; the setting's if it is None.
        bars: are told how far it is.
        failed: all that failed is meant, besides the paths.
        dry_run: say which experiments have how many captures, and end.

    Returns:
        Whether all are in.

    Raises:
        UnknownNameError: an experiment that is not there, of what failed.
        WrongUsageError: a name for a file of the inbox, a filter that tshark does not understand.
    """
    problems: list[str] = []
    wanted = _wanted(settings, paths, name=name, failed=failed, bars=bars, problems=problems)
    workspace = Workspace(settings.options())
    filter_ = settings.filter if display_filter is None else display_filter
    try:
        workspace.tshark.check_filter(filter_)
    except FilterError as error:
        raise WrongUsageError(error.shown) from None
    taking = _Taking(
        workspace.ledger,
        filter_,
        bars,
        table="packets_" if settings.has_questdb else "parquet/packets/experiment=",
    )
    if workspace.has_crashed and not dry_run:
        with _questdb(workspace, bars, {}):
            if told := verify.after_a_crash(workspace):  # another process may have looked meanwhile
                bars.say(told, err=True)
    missing = taking.missing(wanted)
    experiments = taking.experiments(missing)
    if (
        dry_run or len(experiments) > 1 or any(want.found for want in missing)
    ):  # what one file becomes is plain
        for line in experiments:
            bars.say(line, err=not dry_run)
    if missing and not dry_run:
        _run(
            replace(workspace, progress=taking.tell),
            missing,
            taking,
            bars,
            display_filter=display_filter,
        )
    return taking.all_in and not problems


def _wanted(
    settings: Settings,
    paths: Sequence[Path],
    *,
    name: str | None,
    failed: bool,
    bars: Bars,
    problems: list[str],
) -> list[Wanted]:
    """Find the captures that are meant, and say what cannot be taken."""
    wanted = [
        found for path in paths for found in of_path(settings.inbox_dir, path, name, problems)
    ]
    for problem in problems:
        bars.say(f"refused: {problem}", err=True)
    if failed:
        records = Workspace(settings.options()).ledger.records()
        check_known(records, experiment=name)
        wanted += of_failed(settings.inbox_dir, records, name)
        if not wanted:
            bars.say(f"no capture{f' of {name}' if name else ''} has failed")
    elif not wanted and not problems:
        raise WrongUsageError(f"no capture in {', '.join(map(str, paths))}")
    for experiment, names in shared_experiments(want.capture.key for want in wanted).items():
        bars.say(f"note: {' and '.join(names)} share the table packets_{experiment}", err=True)
    return wanted


def _run(
    workspace: Workspace,
    missing: Sequence[Wanted],
    taking: "_Taking",
    bars: Bars,
    *,
    display_filter: str | None,
) -> None:
    """Run what is missing: here if it is little, else in several processes."""
    size = sum(want.capture.size for want in missing)
    workers = min(cores(), max(ceil(len(missing) / FEW), ceil(size / BYTES_PER_RUN)), len(missing))
    waits: dict[str, bool] = {}

    def first() -> None:
        captures = f"{taking.unfinished:,} capture{'' if taking.unfinished == 1 else 's'} to be noted as cancelled"
        bars.say(
            stopping(
                [
                    *([captures] if taking.unfinished else []),
                    *(name for name in waits if waits[name]),
                ]
            ),
            err=True,
        )

    def again() -> None:
        bars.close()
        bars.say(
            "mt-pipeline: ended at once; the same command, or the service, takes up what was at work",
            err=True,
        )
        end_now()

    with (
        heard(first, again),
        workspace.ledger.lock(taking.name),
        dagster_home.opened(workspace.options) as dagster,
    ):
        questdb = _questdb(workspace, bars, waits)
        runs = _runs(dagster, missing, taking)
        if workers > 1:
            finished = run_all(
                workspace,
                dagster,
                runs,
                display_filter=display_filter,
                workers=workers,
                opening=questdb,
                name=taking.name,
            )
        else:
            with questdb:
                runner = Runner(workspace, dagster, display_filter=display_filter)
                finished = all(runner.run(keys) for keys in runs)
        if not finished:
            raise click.Abort


@contextmanager
def _questdb(workspace: Workspace, bars: Bars, waits: dict[str, bool]) -> Iterator[None]:
    """Use QuestDB, and say that it takes a while to start and to stop, if it does.

    Args:
        workspace: the data folder.
        bars: are told.
        waits: is told whether a command that stops waits for QuestDB.
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


def _runs(
    dagster: dg.DagsterInstance, missing: Sequence[Wanted], taking: "_Taking"
) -> Iterator[list[str]]:
    """Cut captures into runs; each is taken, and becomes a partition, when its run is asked for: what is left can be ingested by the next command."""
    wants = {want.capture.key: want for want in missing}
    place = places(dagster.get_dynamic_partitions(captures.name or ""))
    known = stretches((want.capture for want in missing if want.capture.key in place), place)
    new = [want.capture for want in missing if want.capture.key not in place]
    most = (
        1 if len(missing) <= FEW else min(CAPTURES_PER_RUN, max(FEW, ceil(len(missing) / cores())))
    )
    for batch in (batch for some in (*known, new) for batch in batches(some, most=most)):
        taken = [capture for capture in batch if taking.take(wants[capture.key])]
        dagster.add_dynamic_partitions(captures.name or "", [capture.key for capture in taken])
        # The service adds partitions too, and what could not be taken leaves gaps.
        now = places(dagster.get_dynamic_partitions(captures.name or ""))
        yield from ([capture.key for capture in stretch] for stretch in stretches(taken, now))


class _Taking:
    """The captures of a command: which are taken, how each ended, whether all are in. Its name is that of the lock which says that it is at work."""

    def __init__(self, ledger: Ledger, display_filter: str, bars: Bars, *, table: str) -> None:
        self.all_in = True
        self.name = f"terminal {uuid.uuid4()}"
        self._table = table
        self._ledger, self._filter, self._bars = ledger, display_filter, bars
        self._taken: dict[str, Wanted] = {}
        self._told: set[str] = set()

    @property
    def unfinished(self) -> int:
        """How many captures are taken and have not ended."""
        return len(self._taken)

    def missing(self, wanted: Iterable[Wanted]) -> list[Wanted]:
        """Leave out what was found in folders and is in already, in its present form; and what is there twice."""
        records = {record.key: record for record in self._ledger.records()}
        missing: dict[str, Wanted] = {}
        already = 0
        for want in wanted:
            first = missing.setdefault(want.capture.key, want)
            if first.outside != want.outside:
                self._fail(str(_name_taken(want.capture.path, want.outside)))
            elif first is want and self._is_in(want, records.get(want.capture.key)):
                del missing[want.capture.key]
                already += 1
        captures = [want for want in missing.values() if not self._refuses(want)]
        if already:
            self._bars.say(f"{already:,} of {already + len(captures):,} captures are in already")
        self._bars.expect(len(captures))
        return captures

    def experiments(self, missing: Iterable[Wanted]) -> list[str]:
        """Say which experiments will have how many more captures, a line each."""
        number = Counter(want.capture.experiment for want in missing)
        known = {
            record.experiment
            for record in self._ledger.records()
            if record.state is not State.PURGED
        }
        return [
            f"{'' if experiment in known else 'new '}experiment {experiment}: {count:,} capture{'' if count == 1 else 's'}"
            for experiment, count in sorted(number.items())
        ]

    def take(self, want: Wanted) -> bool:
        """Make sure that the capture can be worked on, and that the sensor leaves it to us; says why if it cannot."""
        key = want.capture.key
        try:
            if self._is_in(want, self._ledger.get(key)):  # the sensor was sooner
                self._say(want)
            else:
                if want.outside:
                    _check_free(want.capture.path, want.outside)
                # Noted first, so that the sensor, which sees the link a moment later, leaves it to us.
                self._ledger.take(want.capture, by=self.name)
                self._taken[key] = want
                if want.outside:
                    _link(want.capture.path, want.outside)
                return True
        except LedgerError:
            raise
        except (CaptureError, OSError, ValueError) as error:
            self._fail(failed(key, error).reason)
        self._taken.pop(key, None)
        self._bars.end(key)
        return False

    def tell(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Say how far a capture is, and once how it ended."""
        if doing != ENDED:
            self._bars.show(key, doing, done, total)
            if doing == WAITING and key not in self._told:
                self._told.add(key)
                self._bars.say(f"{key}: {WAITING}", err=True)
        elif key in self._taken:
            self._bars.end(key)
            self._say(self._taken.pop(key))

    def _refuses(self, want: Wanted) -> bool:
        """Say why a file cannot be a capture, if it cannot."""
        if reason := _no_capture(want):
            self._bars.say(f"refused: {reason}", err=True)
            self.all_in &= want.found  # a folder of captures may hold other things
        return reason is not None

    def _is_in(self, want: Wanted, record: Record | None) -> bool:
        if not want.found or record is None or record.state is not State.DONE:
            return False
        is_it = want.outside is None or _leads_to(want.capture.path, want.outside)
        return is_it and (record.size, record.mtime_ns, record.filter or "") == (
            want.capture.size,
            want.capture.mtime_ns,
            self._filter,
        )

    def _say(self, want: Wanted) -> None:
        key = want.capture.key
        record = self._ledger.get(key)
        if record is None or (record.state is State.DONE and record.size == NO_FILE):
            stored = (
                f"its {record.rows:,} rows stay as they are"
                if record
                else "nothing of it is stored"
            )
            self._bars.say(f"gone: {key} was deleted before it was read; {stored}", err=True)
            self.all_in &= (
                want.found
            )  # a ring buffer deletes its oldest files, and nobody named this one
        elif record.state is State.DONE:
            rows = f"{record.rows:,} rows in {self._table}{record.experiment}"
            self._bars.say(
                f"{key}: {', '.join([f'{record.packets:,} packets', rows, *record.remarks])}"
            )
        elif record.state is State.REFUSED:  # a copy, and the user wants none
            self._bars.say(f"refused: {record.error}", err=True)
        else:
            self._fail(record.error or f"{key}: its run has no result; see Runs in the Dagster UI")

    def _fail(self, reason: str) -> None:
        self._bars.say(f"failed: {reason}", err=True)
        self.all_in = False


def _no_capture(want: Wanted) -> str | None:
    """Say why the file cannot be a capture, None if it may be one."""
    file = replace(want.capture, key=str(want.outside)) if want.outside else want.capture
    return refusal_of_key(want.capture.key) or inbox.sniff(file)


def _check_free(link: Path, target: Path) -> None:
    """Make sure that the name is not that of another capture, whose record must stay as it is."""
    if os.path.lexists(link) and not (link.is_symlink() and _leads_to(link, target)):
        raise _name_taken(link, target)


def _leads_to(link: Path, target: Path) -> bool:
    try:
        return link.resolve() == target
    except (OSError, RuntimeError):  # to itself, for which older Pythons have no OSError
        return False


def _name_taken(link: Path, target: Path | None) -> CaptureError:
    return CaptureError(
        f"{target}: the inbox has another {link}; choose another --name, or rename the file"
    )


def _link(link: Path, target: Path) -> None:
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(target)
        except FileExistsError:
            _check_free(
                link, target
            )  # another command may have been sooner, with another file of this name
    except OSError as error:
        raise CaptureError(
            f"{target}: no link to it can be made in the inbox ({error.strerror})"
        ) from None
