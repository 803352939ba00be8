"""How much of the traffic with PUBLIC ends is explained: by a name, an owner, an application."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mt_pipeline.api.question import Question, Source, Sum
from mt_pipeline.api.where import col

DIMENSIONS = {
    "name, by source": "remote_name_source",
    "organisation": "remote_organisation",
    "party": "remote_party",
    "tracker": "remote_tracker",
    "application, known by": "app_source",
}
"""What may be known of a remote end, each with its column of flows."""

WITH_PUBLIC_ENDS = col("direction").isin(["outside", "transit"])
"""The flows that are counted."""


@dataclass(frozen=True)
class Coverage:
    """The traffic of an experiment with PUBLIC ends.

    Attributes:
        experiment: its folded name.
        total: all of it.
        dimensions: of each dimension its values with their packets and bytes, the most bytes
            first; the value None is what is not known, so each dimension has all traffic.
    """

    experiment: str
    total: Sum
    dimensions: Mapping[str, Sequence[tuple[str | int | None, Sum]]]

    def share(self, part: Sum) -> float:
        """Return the share of the bytes, 0 to 1; 0 without any."""
        return part.bytes / self.total.bytes if self.total.bytes else 0.0


def coverage(source: Source, question: Question) -> Coverage:
    """Count the flows of a question by what is known of their remote ends."""
    dimensions = {
        name: sorted(source.sums(question, column).items(), key=_most_bytes_first)
        for name, column in DIMENSIONS.items()
    }
    parts = [part for _, part in dimensions["party"]]
    total = Sum(sum(part.packets for part in parts), sum(part.bytes for part in parts))
    return Coverage(question.experiment, total, dimensions)


def _most_bytes_first(found: tuple[str | int | None, Sum]) -> tuple[int, int, str]:
    value, part = found
    return -part.bytes, -part.packets, str(value)
