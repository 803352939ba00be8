"""An observer that only remembers, and records of stages for tests of whoever shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mt_pipeline.backends.loads import FlowsDiffer, RowsMissing
from mt_pipeline.captures.experiments import Answers
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.observer import DocumentsRead, StageDone
from mt_pipeline.tshark.packet_count import Counted


@dataclass
class Memory:
    """Remembers what a run does.

    Attributes:
        cancelled: whether a person cancelled the run.
        stages: the stages that are done, in their order.
        mismatches: loads that did not store what was sent, by capture key.
        experiments: experiments whose answers were summed up.
        forgotten: captures that were forgotten.
    """

    cancelled: bool = False
    stages: list[StageDone] = field(default_factory=list)
    mismatches: dict[str, RowsMissing | FlowsDiffer] = field(default_factory=dict)
    experiments: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def stage_done(self, done: StageDone) -> None:
        self.stages.append(done)

    def load_mismatch(self, key: str, error: RowsMissing | FlowsDiffer) -> None:
        self.mismatches[key] = error

    def experiment_answered(
        self, experiment: str, answers: Answers, calls: Mapping[str, int]
    ) -> None:
        self.experiments.append(experiment)

    def capture_forgotten(self, key: str) -> None:
        self.forgotten.append(key)

    def is_cancelled(self) -> bool:
        return self.cancelled


def documents_read(
    key: str, *, packets: int, counted: int | None, display_filter: str = ""
) -> DocumentsRead:
    """Make the record of documents that were read."""
    return DocumentsRead(
        files=CaptureFiles(Path("data"), key),
        inputs="0",
        seconds=1,
        packets=packets,
        counted=Counted(counted),
        capture_bytes=1,
        reused=False,
        display_filter=display_filter,
        copy_of=None,
    )
