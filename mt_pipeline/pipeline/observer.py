"""What a run tells whoever watches it: a record for each stage of a capture that is done.

`defs/events.py` shows them in Dagster. Anything else with these methods will do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from mt_pipeline.backends.backend import Location
from mt_pipeline.backends.loads import FlowsDiffer, Loaded, RowsMissing, Stored
from mt_pipeline.captures.records import Record
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
        files: of the capture.
        inputs: hash of all that made its documents.
        seconds: that the stage took.
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
    """Each packet of the capture is a document.

    Attributes:
        packets: documents.
        counted: what a second program counts in the capture.
        capture_bytes: of the file.
        reused: the documents were there already.
        display_filter: that packets had to match; empty for all.
        copy_of: key of another capture with the same bytes.
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
        found: what the capture holds.
        out_of_order: packets that are earlier than one before them.
    """

    asset = "endpoints"
    found: Endpoints
    out_of_order: int


@dataclass(frozen=True, kw_only=True)
class AnswersFound(StageDone):
    """The providers answered about the endpoints.

    Attributes:
        counts: what became of the endpoints.
        changed: endpoints whose answer differs from the last time.
        as_of: the moment whose answers they are; None for the present.
        calls: calls to paid providers today, and the user's limit.
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
        loaded: what the load did, the same in every back end.
        stored: what is stored now.
        summary: traffic over time, and the largest parts of it.
        locations: where a person finds the rows, by back end.
        experiment: of the capture.
        devices: devices in the user's inventory.
    """

    asset = "questdb_packets"
    loaded: Loaded
    stored: Stored
    summary: CaptureSummary
    locations: Sequence[Location]
    experiment: str
    devices: int


class Observer(Protocol):
    """Whoever watches a run."""

    def stage_done(self, done: StageDone) -> None:
        """Take note that a stage of a capture is done."""
        ...

    def load_mismatch(self, key: str, error: RowsMissing | FlowsDiffer) -> None:
        """Take note that a back end does not store what was sent of a capture."""
        ...

    def experiment_answered(
        self, experiment: str, captures: Sequence[Record], calls: Mapping[str, int]
    ) -> None:
        """Take note of the answers for all loaded captures of an experiment, at the end of a run."""
        ...

    def capture_forgotten(self, key: str) -> None:
        """Take note that a capture is known no more: its file was deleted before it was read."""
        ...

    def is_cancelled(self) -> bool:
        """Return whether a person cancelled the run; False if only the service stops."""
        ...
