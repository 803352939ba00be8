"""One capture through the chosen stages: open, call the room, report what was counted. The rooms do the work."""

import logging
import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import dagster as dg

from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture, CaptureError, capture_at, check_unchanged, experiment_of, sha256_of
from mt_pipeline.captures.ledger import UnknownCaptureError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs import checks, metadata, providers
from mt_pipeline.defs.failures import failed
from mt_pipeline.defs.files import CaptureFiles
from mt_pipeline.defs.reporting import report
from mt_pipeline.defs.resources import Pipeline, pace
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import Conversations, conversations
from mt_pipeline.questdb import loader
from mt_pipeline.questdb.rows import rows
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import count_packets

log = logging.getLogger(__name__)

_INTERRUPTED = "Query interrupted"


class NothingToWorkOnError(CaptureError):
    """A stage was chosen whose input was never made."""


class NotTakenError(CaptureError):
    """The file does not begin like a capture."""


@dataclass
class Walk:
    """The walk of one capture; `go` takes it through the stages in their order.

    Attributes:
        context: of the run.
        pipeline: the rooms.
        key: the capture key.
        stages: names of the chosen assets.
        display_filter: only packets that match become rows.
    """

    context: dg.AssetExecutionContext
    pipeline: Pipeline
    key: str
    stages: Set[str]
    display_filter: str
    _inputs: str = ""  # hash of all that made the documents
    _sha256: str = ""
    _cut: bool = False
    _asked_at: float = 0
    _files: CaptureFiles = field(init=False)
    _heard: Conversations | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._files = CaptureFiles(self.pipeline.settings.data_dir, self.key)

    def go(self) -> None:
        """Take the capture through the stages; the ledger knows how it ended, whatever happens.

        Raises:
            Exception: what a room says; `failures.failed` turns it into a sentence.
        """
        self._asked_at = time.time()
        # The verdict is noted before the lock is let go: who finds a capture at work and its lock free takes its run for dead.
        with self.pipeline.ledger.lock(self.key), self._open:
            try:
                self._claimed()
            except Exception as error:
                if _INTERRUPTED in str(error):  # DuckDB's word for a signal that came while it worked
                    self.stopped()
                    raise KeyboardInterrupt from None
                self._note(failed(self.key, error).reason)
                raise
            except BaseException:
                self.stopped()
                raise

    def never_begun(self) -> None:
        """Note that the run ends before it came to this capture, unless another one took it up or there is a verdict already."""
        record = self.pipeline.ledger.get(self.key)
        if record and record.state is State.WAITING and record.requested_at is not None:
            self.stopped()

    def stopped(self) -> None:
        """Note that the run ends before its time.

        A person who cancelled it, in the UI or by Ctrl-C at a terminal, meant it; when the service stops, the next start takes the capture up again.
        """
        run = self.context.instance.get_run_by_id(self.context.run.run_id)
        if run is None or run.remote_job_origin is None or run.status is dg.DagsterRunStatus.CANCELING:
            self._note(f"{self.key}: its run was cancelled; launch it again")
        elif self._judges:
            with suppress(UnknownCaptureError):
                self.pipeline.ledger.give_back(self.key)

    @property
    def _judges(self) -> bool:
        """Without the last stage there is no verdict on the capture, so the ledger keeps what it knows."""
        return "questdb_packets" in self.stages

    def _note(self, reason: str) -> None:
        """Let the ledger know; a key that the UI made up has no record."""
        if self._judges:
            with suppress(UnknownCaptureError):
                self.pipeline.ledger.fail(self.key, reason)

    def _claimed(self) -> None:
        capture = capture_at(self.pipeline.inbox, self.key)
        before = self.pipeline.ledger.get(self.key)
        if before and _done_meanwhile(before, capture, self.display_filter, self._asked_at):
            log.info("%s: run %s did it meanwhile", self.key, before.run)
            return
        if self._judges:
            self.pipeline.ledger.claim(capture, run=self.context.run.run_id, filter=self.display_filter)
        self._walk(capture, before)

    def _walk(self, capture: Capture, before: Record | None) -> None:
        if "tshark_json" in self.stages:
            self._tshark_json(capture)
        elif before and before.documents:
            self._inputs, self._sha256, self._cut = before.documents, before.sha256 or "", before.cut
        else:
            raise NothingToWorkOnError(f"{self.key}: it was never loaded, so there are no documents to work on; launch it with tshark_json")
        if "endpoints" in self.stages:
            self._endpoints()
        if "netify_enrichment" in self.stages:
            self._netify_enrichment()
        if "questdb_packets" in self.stages:
            self._questdb_packets()

    def _tshark_json(self, capture: Capture) -> None:
        started = time.monotonic()
        if reason := inbox.sniff(capture):  # tshark takes an empty file, and some texts, for captures
            raise NotTakenError(reason)
        tshark = self.pipeline.tshark
        tshark.check_filter(self.display_filter)
        self._sha256 = sha256_of(capture)
        self._inputs = documents.inputs_hash(tshark, sha256=self._sha256, display_filter=self.display_filter)
        path = self._files.documents(self._inputs)
        counting = self._open.enter_context(ThreadPoolExecutor(1)).submit(count_packets, capture.path)  # beside tshark
        reused = path.exists()
        if reused:
            packets = documents.count(path)
        else:
            packets = documents.write(
                tshark,
                capture.path,
                path,
                display_filter=self.display_filter,
                listener=self._listener(),
                progress=pace(self.pipeline, self.key, "reading", "packets"),
            )
            try:
                check_unchanged(capture)
            except CaptureError:
                path.unlink()  # it is named after the content that the capture had before
                raise
        counted = counting.result()
        self._cut = counted.cut
        self._report(
            "tshark_json",
            metadata.of_documents(
                path=path,
                packets=packets,
                capture_bytes=capture.size,
                seconds=time.monotonic() - started,
                reused=reused,
                cut=self._cut,
                display_filter=self.display_filter,
            ),
            checks.packets_read(self.key, packets=packets, counted=counted.packets, display_filter=self.display_filter),
        )

    def _listener(self) -> Conversations | None:
        """Let the endpoints listen to tshark: then they are known when the documents are."""
        if "endpoints" in self.stages:
            self._heard = self._open.enter_context(conversations(self._files.endpoints(self._inputs)))
        return self._heard

    def _endpoints(self) -> None:
        started = time.monotonic()
        found = self._distilled()
        path = self._files.endpoints(self._inputs)
        self._report("endpoints", metadata.of_endpoints(found, path=path, seconds=time.monotonic() - started))

    def _distilled(self) -> endpoints.Endpoints:
        """Make sure of typed packets, names and endpoints: heard from tshark, or read from the documents. The endpoints are written last."""
        path = self._files.endpoints(self._inputs)
        if path.exists():
            return endpoints.summary(path)
        source = self._files.documents(self._inputs)
        if not source.exists():
            raise NothingToWorkOnError(f"{self.key}: {source} is not there; launch it with tshark_json too")
        if self._heard is None:
            self._heard = self._open.enter_context(conversations(path))
            self._heard.read(source)
        self._heard.write_packets(self._files.packets(self._inputs))
        self._heard.write_names(self._files.names(self._inputs))
        found = endpoints.write(self._heard, path)
        self._open.close()  # gives its memory back before the load needs some
        return found

    def _netify_enrichment(self) -> None:
        started = time.monotonic()
        self._distilled()
        source, path = self._files.endpoints(self._inputs), self._files.enrichment(self._inputs)
        tell = pace(self.pipeline, self.key, "asking", "endpoints")
        with providers.opened(self.pipeline.settings) as (chain, store):
            counts = enrich(source, path, providers=chain, store=store, progress=lambda so_far, _total: tell(so_far.endpoints))
        self._report(
            "netify_enrichment",
            metadata.of_enrichment(counts, endpoints=source, path=path, seconds=time.monotonic() - started),
            checks.answers_complete(self.key, counts),
        )

    def _questdb_packets(self) -> None:
        started = time.monotonic()
        self._distilled()
        experiment, database = experiment_of(self.key), self.pipeline.database()
        answers = self._files.enrichment(self._inputs)
        if not answers.exists():
            raise NothingToWorkOnError(f"{self.key}: {answers} is not there; launch it with netify_enrichment too")
        with rows(self._files.packets(self._inputs), self._files.names(self._inputs), answers, capture=self.key, experiment=experiment) as batches:
            try:
                loaded = loader.load(
                    database, batches, capture=self.key, experiment=experiment, progress=pace(self.pipeline, self.key, "loading", "packets")
                )
            except loader.RowsMissing as missing:
                self.context.log_event(checks.rows_stored(self.key, missing.loaded))
                raise
        # Before the ledger knows: a kill in between then only loads again.
        self._report(
            "questdb_packets",
            metadata.of_table(loaded, key=self.key, experiment=experiment, database=database, seconds=time.monotonic() - started),
            checks.rows_stored(self.key, loaded),
        )
        self.pipeline.ledger.finish(
            self.key, sha256=self._sha256, documents=self._inputs, packets=loaded.read, rows=loaded.rows, skipped=loaded.skipped, cut=self._cut
        )
        self._files.keep_only(self._inputs)
        log.info(
            "%s: %s packets, %s rows in packets_%s, %.1f s",
            self.key,
            f"{loaded.read:,}",
            f"{loaded.rows:,}",
            experiment,
            time.time() - self._asked_at,
        )

    def _report(self, asset: str, described: metadata.Metadata, check: dg.AssetCheckEvaluation | None = None) -> None:
        report(self.context, self._files, self._inputs, asset, described, check)


def _done_meanwhile(record: Record, capture: Capture, display_filter: str, asked_at: float) -> bool:
    same = (record.size, record.mtime_ns, record.filter or "") == (capture.size, capture.mtime_ns, display_filter)
    return record.state is State.DONE and same and record.changed_at > asked_at
