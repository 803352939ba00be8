"""The stages of a capture: open, call the room, report what was counted. The rooms do the work; in which order is said in `walk.py`.

The last one, the load, is `loading.py`: it takes several captures at once.
"""

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime

import dagster as dg

from mt_pipeline.backends.questdb.loader import Loaded
from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture, CaptureError, check_unchanged, experiment_of, sha256_of
from mt_pipeline.defs import checks, metadata
from mt_pipeline.defs.checked import Checked
from mt_pipeline.defs.events import Context, report
from mt_pipeline.enrichment import changes
from mt_pipeline.enrichment.changes import Change
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets.order import out_of_order
from mt_pipeline.pipeline import capacity, providers
from mt_pipeline.pipeline.derived import Distilling, NothingToWorkOnError
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.load import Done
from mt_pipeline.pipeline.workspace import Pipeline, pace
from mt_pipeline.rows.packets import Sources
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import TsharkError
from mt_pipeline.tshark.packet_count import Counted, Estimate, count_packets, counting, estimate

_LONG = 5_000_000
"""Bytes of a capture that takes seconds to read: to count its packets beforehand takes a hundredth of that."""


class NotTakenError(CaptureError):
    """The file does not begin like a capture."""


@dataclass
class Stages:
    """The stages of one capture. Its lock is held by the caller, who closes this at the end.

    Attributes:
        context: of the run.
        pipeline: the rooms.
        key: the capture key.
        checked: is told what was checked.
        inputs: hash of all that made its documents; `tshark_json` says it.
        sha256: of its content; likewise.
        cut: whether it ends inside a packet; likewise.
        as_of: the moment whose answers were taken; None for the present. `answer` says this and the next two.
        counts: what became of its endpoints; None if nobody looked.
        changed: endpoints of which something else is said than the last time.
        seconds: taken by the stages that are done.
        distilling: its packets, names and endpoints.
    """

    context: Context
    pipeline: Pipeline
    key: str
    checked: Checked
    inputs: str = ""
    sha256: str = ""
    cut: bool = False
    as_of: datetime | None = None
    counts: Counts | None = None
    changed: Sequence[Change] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    distilling: Distilling = field(init=False)
    _looked: float = 0
    _counted: Callable[[], Counted] = field(init=False)
    _estimate: Callable[[], Estimate | None] = field(init=False)
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.distilling = Distilling(self.pipeline, CaptureFiles(self.pipeline.settings.data_dir, self.key))

    @property
    def files(self) -> CaptureFiles:
        """Where its files lie."""
        return self.distilling.files

    @property
    def experiment(self) -> str:
        """Its experiment."""
        return experiment_of(self.key)

    def close(self) -> None:
        """Give back what the endpoints heard."""
        self.distilling.close()
        self._open.close()

    def look(self, capture: Capture, display_filter: str) -> None:
        """Find out what documents of the capture would be made of: its hash, and that of all inputs."""
        self._looked = time.monotonic()
        self.pipeline.progress(self.key, "checking", 0)
        if reason := inbox.sniff(capture):  # tshark takes an empty file, and some texts, for captures
            check_unchanged(capture)
            raise NotTakenError(reason)
        self._estimate = functools.cache(lambda: estimate(capture.path))
        capacity.check_memory(self.pipeline.settings, capture, self._estimate)  # first: to hash a terabyte takes an hour
        tshark = self.pipeline.tshark
        self._counted = self._open.enter_context(counting(capture.path, tshark.limits))  # beside all that follows
        tshark.check_filter(display_filter)
        self.sha256 = sha256_of(capture)
        self.inputs = documents.inputs_hash(tshark, sha256=self.sha256, display_filter=display_filter)

    def tshark_json(self, capture: Capture, display_filter: str, *, listened: bool, copy_of: str | None) -> None:
        """Make the documents, unless there are those of just these inputs; `look` comes first.

        Args:
            capture: the file.
            display_filter: only packets that match become rows.
            listened: whether the endpoints are wanted next: listening to tshark, they are known when the documents are.
            copy_of: another capture with the same bytes, if there is one.
        """
        path = self.files.documents(self.inputs)
        reused = path.exists()
        if reused:
            packets = documents.count(path)
        else:
            capacity.check(self.pipeline.settings, capture, self._estimate)
            room = capacity.Room(self.pipeline.settings, self.key)
            tell = pace(self.pipeline, self.key, "reading", "packets", self._expected(capture, display_filter))

            def progress(packets: int) -> None:
                room.check(packets)
                tell(packets)

            try:
                packets = documents.write(
                    self.pipeline.tshark,
                    capture.path,
                    path,
                    called=self.pipeline.inbox / self.key,  # a capture that grows is read from a copy
                    display_filter=display_filter,
                    listener=self.distilling.listener(self.inputs) if listened else None,
                    progress=progress,
                )
            except TsharkError:
                check_unchanged(capture)  # tshark is right about a file that is gone
                raise
            try:
                check_unchanged(capture)
            except CaptureError:
                path.unlink()  # it is named after the content that the capture had before
                raise
        counted = self._counted()
        if counted.packets != packets and not display_filter:  # editcap also counts blocks that are no packets
            counted = replace(counted, packets=count_packets(capture.path, self.pipeline.tshark.limits).packets)
        self.cut = counted.cut
        self._report(
            "tshark_json",
            metadata.of_documents(
                path=path,
                packets=packets,
                capture_bytes=capture.size,
                seconds=time.monotonic() - self._looked,
                reused=reused,
                cut=self.cut,
                display_filter=display_filter,
                copy_of=copy_of,
                duplicate_packets=counted.duplicates,
            ),
            checks.packets_read(self.key, packets=packets, counted=counted.packets, display_filter=display_filter),
        )

    def _expected(self, capture: Capture, display_filter: str) -> int | None:
        """Count the packets that will be read, where that takes so long that people want to know how long."""
        if display_filter or capture.size < _LONG:
            return None
        estimated = self._estimate()
        return estimated.packets if estimated else None

    def endpoints(self) -> None:
        """Make the endpoints."""
        self.pipeline.progress(self.key, "finding the endpoints of", 0)
        started = time.monotonic()
        found = self.distilling.distilled(self.inputs)
        path = self.files.endpoints(self.inputs)
        late = out_of_order(self.files.packets(self.inputs))
        self._report("endpoints", metadata.of_endpoints(found, out_of_order=late, path=path, seconds=time.monotonic() - started))

    def netify_enrichment(self, *, as_of: datetime | None = None) -> None:
        """Ask what the endpoints are.

        Args:
            as_of: load what was known at that moment instead.
        """
        started = time.monotonic()
        self.answer(as_of=as_of)
        self.report_answers(seconds=time.monotonic() - started)

    def answer(self, *, ask: bool = True, as_of: datetime | None = None) -> None:
        """Write the answers for the endpoints, and find out what changed; nothing is reported.

        Args:
            ask: whether to ask providers that cost something.
            as_of: take what was known at that moment instead.
        """
        found = self.distilling.distilled(self.inputs)
        path = self.files.enrichment(self.inputs)
        before = changes.read(path)
        tell = pace(self.pipeline, self.key, "asking", "endpoints", found.addresses + found.names)
        with providers.opened(self.pipeline.settings, run=self.context.run.run_id) as (chain, store):
            self.counts = enrich(
                self.files.endpoints(self.inputs),
                path,
                providers=chain,
                store=store,
                ask=ask,
                as_of=as_of,
                progress=lambda so_far, _total: tell(so_far.endpoints),
            )
        self.as_of = as_of
        self.changed = [] if before is None else changes.changes(before, path)

    def report_answers(self, *, seconds: float) -> None:
        """Tell Dagster of the answers."""
        if self.counts is None:
            raise ValueError("there are no answers to tell of")
        source, path = self.files.endpoints(self.inputs), self.files.enrichment(self.inputs)
        calls = providers.calls(self.pipeline.settings)
        self._report(
            "netify_enrichment",
            metadata.of_enrichment(self.counts, endpoints=source, path=path, changed=self.changed, as_of=self.as_of, calls=calls, seconds=seconds),
            checks.answers_complete(self.key, self.counts),
        )

    def noted_as_done(self, loaded: Loaded) -> None:
        """Let the ledger know that the rows can be read."""
        self.pipeline.ledger.finish(
            self.key,
            sha256=self.sha256,
            documents=self.inputs,
            packets=loaded.read,
            rows=loaded.rows,
            skipped=loaded.skipped,
            cut=self.cut,
            follows=self.files.follows,
            leaves=self.distilling.leaves(self.inputs),
        )
        self.note_answers()

    def note_answers(self) -> None:
        """Let the ledger know with which answers the rows were made."""
        path = self.files.enrichment(self.inputs)
        by = None if self.counts is None else {name: of_one.numbers for name, of_one in self.counts.by_provider.items()}
        as_of = None if self.as_of is None else self.as_of.isoformat()
        self.pipeline.ledger.answered(self.key, answers=changes.fingerprint(path), owed=changes.owed(path), answers_by=by, as_of=as_of)

    def sources(self) -> Sources:
        """Say what the rows are made of; what is missing is made first.

        Raises:
            NothingToWorkOnError: there are no answers.
        """
        self.distilling.distilled(self.inputs)
        self.close()  # it may wait for others
        sources = self.files.sources(self.inputs)
        if not sources.answers.exists():
            raise NothingToWorkOnError(f"{self.key}: {sources.answers} is not there; launch it with netify_enrichment too")
        return sources

    def report_rows(self, done: Done) -> None:
        """Tell Dagster of the rows that are loaded."""
        self._report("questdb_packets", done.described, *done.checks)

    def _report(self, asset: str, described: metadata.Metadata, *evaluations: dg.AssetCheckEvaluation) -> None:
        report(self.context, self.files, self.inputs, asset, described)
        self.checked.add(*evaluations)
        if isinstance(seconds := described["seconds"], float):
            self.seconds[asset] = seconds
