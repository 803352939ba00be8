"""`mt-pipeline ingest`: what is still to be done of the captures that are meant, cut into runs, and a line for each that is in or is not.

Which are meant is `wanted.py`; who runs them is `launching.py`, and `workers.py` if they are many.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

import click
import dagster as dg

from mt_pipeline.bars import Bars
from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import CaptureError, refusal_of_key, shared_experiments
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import NO_FILE, LedgerError, Record, State
from mt_pipeline.defs import instance, verification
from mt_pipeline.defs.failures import failed
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.resources import ENDED, WAITING, Pipeline
from mt_pipeline.defs.runs import BYTES_PER_RUN, CAPTURES_PER_RUN, batches, places, stretches
from mt_pipeline.launching import Runner
from mt_pipeline.processes import cores
from mt_pipeline.settings import Settings
from mt_pipeline.tshark.command import FilterError
from mt_pipeline.wanted import Wanted, WrongUsageError, of_failed, of_path
from mt_pipeline.workers import run_all

FEW = 10
"""So many small captures are sooner done in this process than others are started, and each has a run of its own, which `purge` can take out."""


def ingest(settings: Settings, paths: Sequence[Path], *, name: str | None, display_filter: str | None, failed: bool = False) -> bool:
    """Ingest files and folders, or what failed; says a line per capture, failures on stderr.

    Args:
        settings: all of them.
        paths: files and folders.
        name: experiment of files from outside the inbox; of what failed, the only one that is meant.
        display_filter: only packets that match become rows; the setting's if it is None.
        failed: all that failed is meant, besides the paths.

    Returns:
        Whether all are in.

    Raises:
        WrongUsageError: a name for a file of the inbox, a filter that tshark does not understand.
    """
    problems: list[str] = []
    wanted = [found for path in paths for found in of_path(settings.inbox_dir, path, name, problems)]
    for problem in problems:
        click.echo(f"refused: {problem}", err=True)
    if failed:
        wanted += of_failed(settings.inbox_dir, Pipeline(settings).ledger.records(), name)
        if not wanted:
            click.echo(f"no capture{f' of {name}' if name else ''} has failed")
    elif not wanted and not problems:
        raise WrongUsageError(f"no capture in {', '.join(map(str, paths))}")
    for experiment, names in shared_experiments(want.capture.key for want in wanted).items():
        click.echo(f"note: {' and '.join(names)} share the table packets_{experiment}", err=True)
    return _ingest(settings, wanted, display_filter) and not problems


def _ingest(settings: Settings, wanted: Sequence[Wanted], display_filter: str | None) -> bool:
    with Bars() as bars:
        pipeline = Pipeline(settings)
        filter_ = settings.filter if display_filter is None else display_filter
        try:
            pipeline.tshark.check_filter(filter_)
        except FilterError as error:
            raise WrongUsageError(str(error)) from None
        taking = _Taking(pipeline.ledger, filter_, bars, table="packets_" if settings.has_questdb else "parquet/packets/experiment=")
        if pipeline.has_crashed:
            with pipeline.questdb():
                if told := verification.after_a_crash(pipeline):  # another process may have looked meanwhile
                    click.echo(told, err=True)
        missing = taking.missing(wanted)
        if not missing:
            return taking.all_in
        working = replace(pipeline, progress=taking.tell)
        with instance.opened(settings) as dagster:
            runs = _runs(dagster, missing, taking)
            size = sum(want.capture.size for want in missing)
            workers = min(cores(), max(ceil(len(missing) / FEW), ceil(size / BYTES_PER_RUN)), len(missing))
            if workers > 1:
                finished = run_all(working, dagster, runs, display_filter=display_filter, workers=workers, opening=pipeline.questdb())
            else:
                with pipeline.questdb():
                    runner = Runner(working, dagster, display_filter=display_filter)
                    finished = all(runner.run(keys) for keys in runs)
            if not finished:
                raise click.Abort
    return taking.all_in


def _runs(dagster: dg.DagsterInstance, missing: Sequence[Wanted], taking: "_Taking") -> Iterator[list[str]]:
    """Cut captures into runs; each is taken, and becomes a partition, when its run is asked for: what is left can be ingested by the next command."""
    wants = {want.capture.key: want for want in missing}
    place = places(dagster.get_dynamic_partitions(captures.name or ""))
    known = stretches((want.capture for want in missing if want.capture.key in place), place)
    new = [want.capture for want in missing if want.capture.key not in place]
    most = 1 if len(missing) <= FEW else min(CAPTURES_PER_RUN, max(FEW, ceil(len(missing) / cores())))
    for batch in (batch for some in (*known, new) for batch in batches(some, most=most)):
        taken = [capture for capture in batch if taking.take(wants[capture.key])]
        dagster.add_dynamic_partitions(captures.name or "", [capture.key for capture in taken])
        # The service adds partitions too, and what could not be taken leaves gaps.
        now = places(dagster.get_dynamic_partitions(captures.name or ""))
        yield from ([capture.key for capture in stretch] for stretch in stretches(taken, now))


class _Taking:
    """The captures of a command: which are taken, how each ended, whether all are in."""

    def __init__(self, ledger: Ledger, display_filter: str, bars: Bars, *, table: str) -> None:
        self.all_in = True
        self._table = table
        self._ledger, self._filter, self._bars = ledger, display_filter, bars
        self._taken: dict[str, Wanted] = {}
        self._told: set[str] = set()

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
        if already:
            click.echo(f"{already:,} of {already + len(missing):,} captures are in already")
        self._bars.expect(len(missing))
        return list(missing.values())

    def take(self, want: Wanted) -> bool:
        """Make sure that the capture can be worked on, and that the sensor leaves it to us; says why if it cannot."""
        key, reason = want.capture.key, _no_capture(want)
        try:
            if reason:
                click.echo(f"refused: {reason}", err=True)
                self.all_in &= want.found  # a folder of captures may hold other things
            elif self._is_in(want, self._ledger.get(key)):  # the sensor was sooner
                self._say(want)
            else:
                if want.outside:
                    _check_free(want.capture.path, want.outside)
                # Noted first, so that the sensor, which sees the link a moment later, leaves it to us.
                self._ledger.take(want.capture)
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

    def tell(self, key: str, doing: str, done: int) -> None:
        """Say how far a capture is, and once how it ended."""
        if doing != ENDED:
            self._bars.show(key, doing, done)
            if doing == WAITING and key not in self._told:
                self._told.add(key)
                click.echo(f"{key}: {WAITING}", err=True)
        elif key in self._taken:
            self._bars.end(key)
            self._say(self._taken.pop(key))

    def _is_in(self, want: Wanted, record: Record | None) -> bool:
        if not want.found or record is None or record.state is not State.DONE:
            return False
        is_it = want.outside is None or _leads_to(want.capture.path, want.outside)
        return is_it and (record.size, record.mtime_ns, record.filter or "") == (want.capture.size, want.capture.mtime_ns, self._filter)

    def _say(self, want: Wanted) -> None:
        key = want.capture.key
        record = self._ledger.get(key)
        if record is None or (record.state is State.DONE and record.size == NO_FILE):
            stored = f"its {record.rows:,} rows stay as they are" if record else "nothing of it is stored"
            click.echo(f"gone: {key} was deleted before it was read; {stored}", err=True)
            self.all_in &= want.found  # a ring buffer deletes its oldest files, and nobody named this one
        elif record.state is State.DONE:
            skipped = "".join(f", {count:,} skipped: {reason}" for reason, count in record.skipped.items())
            cut = ", cut inside its last packet" if record.cut else ""
            click.echo(f"{key}: {record.packets:,} packets, {record.rows:,} rows in {self._table}{record.experiment}{skipped}{cut}")
        elif record.state is State.REFUSED:  # a copy, and the user wants none
            click.echo(f"refused: {record.error}", err=True)
        else:
            self._fail(record.error or f"{key}: its run has no result; see Runs in the Dagster UI")

    def _fail(self, reason: str) -> None:
        click.echo(f"failed: {reason}", err=True)
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
    return CaptureError(f"{target}: the inbox has another {link}; choose another --name, or rename the file")


def _link(link: Path, target: Path) -> None:
    if link.is_symlink():
        return
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    except OSError as error:
        raise CaptureError(f"{target}: no link to it can be made in the inbox ({error.strerror})") from None
