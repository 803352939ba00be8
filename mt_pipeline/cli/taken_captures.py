"""The captures that `mt-pipeline ingest` takes: which are new, and how each of them ended."""

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from mt_pipeline.captures.first_bytes import sniff
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.naming import CaptureError, refusal_of_key, storable
from mt_pipeline.captures.records import NO_FILE, LedgerError, Record, State
from mt_pipeline.cli.links import check_free, leads_to, make_link, name_taken
from mt_pipeline.cli.progress_bars import Bars
from mt_pipeline.cli.selection import Selected
from mt_pipeline.pipeline.failures import failed
from mt_pipeline.pipeline.progress import ENDED, WAITING


class TakenCaptures:
    """The captures of one command.

    Args:
        ledger: that of the data folder.
        display_filter: of the command.
        bars: for lines and progress.
        dry_run: nothing is recorded.
        table: beginning of the tables' names, for the lines.

    Attributes:
        all_loaded: whether no capture that the user named has failed.
        name: of the command in the ledger, and of the lock that it holds while it works.
    """

    def __init__(
        self, ledger: Ledger, display_filter: str, bars: Bars, *, dry_run: bool, table: str
    ) -> None:
        self.all_loaded = True
        self.name = f"terminal {uuid.uuid4()}"
        self._dry_run, self._table = dry_run, table
        self._ledger, self._filter, self._bars = ledger, display_filter, bars
        self._unfinished: dict[str, Selected] = {}
        self._reported_waiting: set[str] = set()

    @property
    def unfinished(self) -> int:
        """Number of captures that are taken and have not ended."""
        return len(self._unfinished)

    def new(self, selected: Iterable[Selected]) -> list[Selected]:
        """Return the captures that are still to be loaded, each once.

        A capture in a folder is left out if it is loaded in its present form.
        """
        records = {record.key: record for record in self._ledger.records()}
        new: dict[str, Selected] = {}
        loaded = 0
        for item in selected:
            key = item.capture.key
            first = new.setdefault(key, item)
            if first.outside != item.outside:
                self._fail(str(name_taken(item.capture.path, item.outside)))
            elif first is item and self._is_loaded(item, records.get(key)):
                del new[key]
                loaded += 1
        captures = [item for item in new.values() if not self._refuses(item)]
        if loaded:
            total = loaded + len(captures)
            self._bars.echo(f"{loaded:,} of {total:,} captures are in already")
        self._bars.expect(len(captures))
        return captures

    def experiments(self, new: Iterable[Selected]) -> list[str]:
        """Return a line per experiment with the number of captures that it gains."""
        counts = Counter(item.capture.experiment for item in new)
        known = {
            record.experiment
            for record in self._ledger.records()
            if record.state not in (State.PURGED, State.REFUSED)
        }
        return [
            f"{'' if experiment in known else 'new '}experiment {experiment}: "
            f"{count:,} capture{'' if count == 1 else 's'}"
            for experiment, count in sorted(counts.items())
        ]

    def take(self, item: Selected) -> bool:
        """Take a capture, so that the sensor leaves it to this command.

        Returns:
            Whether it can be worked on; a line says why it cannot.
        """
        key = item.capture.key
        try:
            if self._is_loaded(item, self._ledger.get(key)):  # the sensor was faster
                self._report(item)
            else:
                self._take(item)
                return True
        except LedgerError:
            raise
        except (CaptureError, OSError, ValueError) as error:
            self._fail(failed(key, error, loads=False).reason)
        self._unfinished.pop(key, None)
        self._bars.end(key)
        return False

    def show_progress(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Show how far a capture is, and print a line when it has ended."""
        if doing != ENDED:
            self._bars.show(key, doing, done, total)
            if doing == WAITING and key not in self._reported_waiting:
                self._reported_waiting.add(key)
                self._bars.echo(f"{key}: {WAITING}", err=True)
        elif key in self._unfinished:
            self._bars.end(key)
            self._report(self._unfinished.pop(key))

    def _take(self, item: Selected) -> None:
        target = item.outside
        if target:
            check_free(item.capture.path, target)
        # The ledger comes first: the sensor sees the link a moment later, and leaves it to us.
        self._ledger.take(item.capture, by=self.name)
        self._unfinished[item.capture.key] = item
        if target:
            make_link(item.capture.path, target)

    def _refuses(self, item: Selected) -> bool:
        """Return whether a file cannot be taken; a line and the ledger say why."""
        reason = item.refused or _refusal(item)
        if not reason:
            return False
        self._bars.echo(f"refused: {reason}", err=True)
        # A folder of captures may hold other files.
        self.all_loaded &= item.in_folder and not item.refused
        if not self._dry_run:
            self._record(item, reason)
        return True

    def _record(self, item: Selected, reason: str) -> None:
        """Record that a file is refused, as is recorded of one that is put into the inbox."""
        before = self._ledger.get(storable(item.capture.key))
        if before is not None and before.state is State.FAILED:  # also of a file that is gone
            return
        try:
            if item.outside:
                make_link(item.capture.path, item.outside)
        except CaptureError as error:
            self._fail(str(error))
            return
        # Without a size, so that the service looks for itself whether the reason still applies.
        self._ledger.refuse(replace(item.capture, size=NO_FILE), reason)

    def _is_loaded(self, item: Selected, record: Record | None) -> bool:
        if not item.in_folder or item.refused or record is None or record.state is not State.DONE:
            return False
        capture = item.capture
        same_file = item.outside is None or leads_to(capture.path, item.outside)
        loaded = record.size, record.mtime_ns, record.filter or ""
        return same_file and loaded == (capture.size, capture.mtime_ns, self._filter)

    def _report(self, item: Selected) -> None:
        """Print how a capture ended."""
        key = item.capture.key
        record = self._ledger.get(key)
        if record is None or (record.state is State.DONE and record.size == NO_FILE):
            self._report_deleted(item, record)
        elif record.state is State.DONE:
            rows = f"{record.rows:,} rows in {self._table}{record.experiment}"
            details = [f"{record.packets:,} packets", rows, *record.remarks]
            self._bars.echo(f"{key}: {', '.join(details)}")
        elif record.state is State.REFUSED:  # a copy, which the settings skip
            self._bars.echo(f"refused: {record.error}", err=True)
        else:
            self._fail(record.error or f"{key}: its run has no result; see Runs in the Dagster UI")

    def _report_deleted(self, item: Selected, record: Record | None) -> None:
        rows = f"its {record.rows:,} rows stay as they are" if record else "nothing of it is stored"
        self._bars.echo(
            f"gone: {item.capture.key} was deleted before it was read; {rows}", err=True
        )
        # A ring buffer deletes its oldest files: that is a failure only of a file that was named.
        self.all_loaded &= item.in_folder

    def _fail(self, reason: str) -> None:
        self._bars.echo(f"failed: {reason}", err=True)
        self.all_loaded = False


def _refusal(item: Selected) -> str | None:
    """Return why a file cannot be a capture; None if it may be one."""
    capture = item.capture
    file = replace(capture, key=str(item.outside)) if item.outside else capture
    try:
        return refusal_of_key(capture.key) or sniff(file)
    except CaptureError as error:  # of an object
        return str(error)
