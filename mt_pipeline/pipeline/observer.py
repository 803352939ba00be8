"""The records that a run hands its observer: one for each stage of a capture that is done.

`defs/events.py` shows them in Dagster; a test or a script may collect them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from mt_pipeline.backends.backend import Location
from mt_pipeline.backends.loads import FlowsDiffer, Loaded, RowsMissing, Stored
from mt_pipeline.captures.experiments import Answers
from mt_pipeline.enrichment.changes import Change
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.packets.endpoints import Endpoints
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.rows.summary import CaptureSummary
from mt_pipeline.tshark.packet_count import Counted


@dataclass(frozen=True, kw_only=True)
class StageDone:
    """A stage of a capture is done.

    Attributes:
        files: the files of the capture.
        inputs: the hash of all that its documents are made of.
        seconds: the time that the stage took.
    """

    asset: ClassVar[str]
    files: CaptureFiles
    inputs: str
    seconds: float

    @property
    def key(self) -> str:
        """The capture key."""
        return self.files.key


@dataclass(frozen=True, kw_only=True)
class DocumentsRead(StageDone):
    """tshark has read the capture: each packet is a document.

    Attributes:
        packets: number of documents.
        counted: what a second program counts in the capture.
        capture_bytes: size of the file.
        reused: whether the documents already existed.
        display_filter: the filter that packets had to match; empty for none.
        copy_of: key of another capture with the same bytes; None if there is none.
    """

    asset = "tshark_json"
    packets: int
    counted: Counted
    capture_bytes: int
    reused: bool
    display_filter: str
    copy_of: str | None


@dataclass(frozen=True, kw_only=True)
class EndpointsFound(StageDone):
    """The distinct public endpoints of the capture are known.

    Attributes:
        found: the endpoints.
        out_of_order: number of packets that are earlier than the packet before them.
    """

    asset = "endpoints"
    found: Endpoints
    out_of_order: int


@dataclass(frozen=True, kw_only=True)
class AnswersFound(StageDone):
    """The providers have answered about the endpoints.

    Attributes:
        counts: endpoints by the kind of their answer.
        changed: endpoints whose answer differs from that of the last run.
        as_of: the moment of the answers; None for now.
        calls: the calls to paid providers today, and the limit of the settings.
    """

    asset = "netify_enrichment"
    counts: Counts
    changed: Sequence[Change]
    as_of: datetime | None
    calls: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RowsLoaded(StageDone):
    """The rows of the capture can be read from every back end.

    Attributes:
        loaded: counts of the load, the same in every back end.
        stored: counts of what is stored now.
        summary: traffic over time, and its largest parts.
        locations: where to find the rows, for each back end.
        experiment: the folded name of the experiment.
        devices: number of devices in the inventory.
    """

    asset = "questdb_packets"
    loaded: Loaded
    stored: Stored
    summary: CaptureSummary
    locations: Sequence[Location]
    experiment: str
    devices: int


class Observer(Protocol):
    """Receives what a run does, and knows whether it was cancelled."""

    def stage_done(self, done: StageDone) -> None:
        """Receive the record of a stage that is done."""
        ...

    def load_mismatch(self, key: str, error: RowsMissing | FlowsDiffer) -> None:
        """Receive the error of a load: a back end does not store what was sent to it."""
        ...

    def experiment_answered(
        self, experiment: str, answers: Answers, calls: Mapping[str, int]
    ) -> None:
        """Receive the answers for the loaded captures of an experiment, at the end of a run."""
        ...

    def capture_forgotten(self, key: str) -> None:
        """Receive the key of a capture whose file was deleted before it was read."""
        ...

    def is_cancelled(self) -> bool:
        """Return whether a person cancelled the run; False if only the service stops."""
        ...
