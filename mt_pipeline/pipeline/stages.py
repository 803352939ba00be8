"""The stages of a capture. Each does its work, and hands the observer a record of it.

`capture_run.py` calls them in order. The last stage, the load, takes several captures at once, so
it is in `load.py`.
"""

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime

from mt_pipeline.captures.identity import Capture, sha256_of
from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.enrichment import changes
from mt_pipeline.enrichment.changes import Change
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets.typed import out_of_order
from mt_pipeline.pipeline import early_load, providers
from mt_pipeline.pipeline.derived import Derived, NoInputError
from mt_pipeline.pipeline.early_load import EarlyLoad
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.inspection import Inspection
from mt_pipeline.pipeline.load import CaptureLoad
from mt_pipeline.pipeline.observer import (
    AnswersFound,
    DocumentsRead,
    EndpointsFound,
    RowsLoaded,
    StageDone,
)
from mt_pipeline.pipeline.reading import write_documents
from mt_pipeline.pipeline.refusal import check_readable
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.versions import ROWS
from mt_pipeline.rows.sources import Sources
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.packet_count import Counted, Estimate, count_packets, counting, estimate


@dataclass
class Stages:
    """The stages of one capture. The caller holds its lock, and closes this at the end.

    Attributes:
        run: the run that the capture is part of.
        key: the capture key.
        inputs: the hash of all that its documents are made of; `identify` sets it.
        sha256: the hash of its content; `identify` sets it.
        cut: whether the file ends inside a packet; `read_documents` sets it.
        as_of: the moment of the answers, None for now; `answer` sets it.
        counts: endpoints by the kind of their answer, None before `answer`.
        changed: endpoints whose answer differs from that of the last run; `answer` sets it.
        seconds: the time that each stage took, by asset.
        early_load: sends rows while tshark reads; None if nothing is sent before the load.
        derived: its typed packets, names and endpoints.
        inspection: what nDPI finds in it.
    """

    run: Run
    key: str
    inputs: str = ""
    sha256: str = ""
    cut: bool = False
    as_of: datetime | None = None
    counts: Counts | None = None
    changed: Sequence[Change] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    early_load: EarlyLoad | None = None
    derived: Derived = field(init=False)
    inspection: Inspection = field(init=False)
    _started: float = 0
    _counted: Callable[[], Counted] = field(init=False)
    _estimate: Callable[[], Estimate | None] = field(init=False)
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        files = CaptureFiles(self.run.workspace.options.data_dir, self.key)
        self.derived = Derived(self.run.workspace, files)
        self.inspection = Inspection(self.run.workspace, files)

    @property
    def files(self) -> CaptureFiles:
        """The files of the capture."""
        return self.derived.files

    @property
    def experiment(self) -> str:
        """The folded name of its experiment."""
        return experiment_of(self.key)

    def close(self) -> None:
        """Free the memory of the conversations, and stop counting packets."""
        self.derived.close()
        self.inspection.close()
        self._open.close()

    def identify(self, capture: Capture, display_filter: str) -> None:
        """Hash the capture and all else that its documents are made of.

        Raises:
            CaptureError: it is no capture, cannot be read, is too large, or has changed.
            TsharkError: tshark cannot be used, or does not understand the filter.
        """
        self._started = time.monotonic()
        workspace = self.run.workspace
        workspace.progress(self.key, "checking", 0)
        self._estimate = functools.cache(lambda: estimate(capture.path))
        # Before the hash: a terabyte takes an hour to hash.
        check_readable(workspace.options, capture, self._estimate)
        tshark = workspace.tshark
        # Counts in the background until `read_documents` needs the result.
        self._counted = self._open.enter_context(counting(capture.path, tshark.limits))
        tshark.check_filter(display_filter)
        self.sha256 = sha256_of(capture)
        self.inputs = documents.inputs_hash(
            tshark, sha256=self.sha256, display_filter=display_filter
        )
        self.inspection.begin(capture, self.inputs)

    def load_early(self) -> None:
        """Have rows sent while `read_documents` reads, if a back end takes them."""
        self.early_load = early_load.begin(self.run, self.key, self.files.workplace)
        if self.early_load:
            self._open.callback(self.early_load.close)

    def read_documents(
        self,
        capture: Capture,
        display_filter: str,
        *,
        derive: bool,
        copy_of: str | None,
        few: int = 0,
    ) -> None:
        """Write the documents, unless they exist. Call `identify` first.

        Args:
            capture: the file.
            display_filter: only packets that match become documents.
            derive: whether `find_endpoints` follows. If so, packets are typed while tshark reads.
            copy_of: key of another capture with the same bytes.
            few: up to so many documents are kept for `derived.make_together`, and none is typed.
        """
        path = self.files.documents(self.inputs)
        if reused := path.exists():
            packets = documents.count(path)
        else:
            packets = write_documents(
                self.run.workspace,
                capture,
                path,
                display_filter=display_filter,
                listener=self._listener(few) if derive else None,
                count=self._estimate,
            )
        self.inspection.wait()
        counted = self._counted()
        if counted.packets != packets and not display_filter:
            # editcap also counts blocks that are not packets.
            limits = self.run.workspace.tshark.limits
            counted = replace(counted, packets=count_packets(capture.path, limits).packets)
        self.cut = counted.cut
        self._done(
            DocumentsRead(
                files=self.files,
                inputs=self.inputs,
                seconds=time.monotonic() - self._started,
                packets=packets,
                counted=counted,
                capture_bytes=capture.size,
                reused=reused,
                display_filter=display_filter,
                copy_of=copy_of,
            )
        )

    def find_endpoints(self) -> None:
        """Find the distinct public endpoints, and type the packets if that is not done yet."""
        self.run.workspace.progress(self.key, "finding the endpoints of", 0)
        started = time.monotonic()
        found = self.derived.make(self.inputs)
        self._done(
            EndpointsFound(
                files=self.files,
                inputs=self.inputs,
                seconds=self.derived.seconds + time.monotonic() - started,
                found=found,
                out_of_order=out_of_order(self.files.packets(self.inputs)),
            )
        )

    def answer(self, *, ask: bool = True, as_of: datetime | None = None) -> None:
        """Write the answers for the endpoints, and compare them with those of the last run.

        Call `report_answers` when they are final.

        Args:
            ask: whether to ask paid providers; if not, take the stored answers.
            as_of: take the stored answers of that moment, and ask nobody.
        """
        found = self.derived.make(self.inputs)
        path = self.files.enrichment(self.inputs)
        before = changes.read(path)
        total = found.addresses + found.names
        report = self.run.workspace.pace(self.key, "asking", "endpoints", total)
        chain, store = self.run.providers
        self.counts = enrich(
            self.files.endpoints(self.inputs),
            path,
            providers=chain,
            store=store,
            ask=ask,
            as_of=as_of,
            all_names=self.run.workspace.options.asks_all_names,
            progress=lambda so_far, _total: report(so_far.endpoints),
        )
        self.as_of = as_of
        self.changed = [] if before is None else changes.changes(before, path)

    def report_answers(self, *, seconds: float) -> None:
        """Hand the observer the record of the answers. Call `answer` first."""
        if self.counts is None:
            raise ValueError("there are no answers to report")
        self._done(
            AnswersFound(
                files=self.files,
                inputs=self.inputs,
                seconds=seconds,
                counts=self.counts,
                changed=self.changed,
                as_of=self.as_of,
                calls=providers.calls(self.run.workspace.options),
            )
        )

    def sources(self) -> Sources:
        """Return the files that the rows are made of. Write those that are missing.

        Raises:
            NoInputError: there are no answers.
        """
        self.derived.make(self.inputs)
        self.close()  # free the memory: the capture may wait for others before its load
        sources = replace(
            self.files.sources(self.inputs), inspections=self.inspection.found(self.inputs)
        )
        if not sources.answers.exists():
            raise NoInputError(
                f"{self.key}: {sources.answers} is not there; launch it with netify_enrichment too"
            )
        return sources

    @property
    def made_of(self) -> str:
        """What rows are made of besides packets: a hash of the answers, and versions.

        Rows that were made of the same need not be loaded again.
        """
        answers = changes.fingerprint(self.files.enrichment(self.inputs))
        inspected = self.inspection.found(self.inputs)
        return "-".join([answers, ROWS, *([inspected.stem] if inspected else [])])

    def report_rows(self, load: CaptureLoad) -> None:
        """Hand the observer the record of the rows that are loaded."""
        self._done(
            RowsLoaded(
                files=self.files,
                inputs=self.inputs,
                seconds=load.seconds,
                loaded=load.loaded,
                stored=load.stored,
                summary=load.summary,
                locations=load.locations,
                experiment=self.experiment,
                devices=len(self.run.devices),
            )
        )

    def _listener(self, few: int) -> documents.Listener:
        if few:
            return self.derived.waiting(self.inputs, few=few)
        return self.derived.listener(self.inputs, self.early_load.add if self.early_load else None)

    def _done(self, done: StageDone) -> None:
        self.run.observer.stage_done(done)
        self.seconds[done.asset] = round(done.seconds, 3)
