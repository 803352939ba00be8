"""What a back end must do. Each is a folder beside this module, and imports none of the others.

A new one is a class with these methods, its name in `settings.BACKENDS`, and a line in `pipeline/workspace.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mt_pipeline.backends.loads import Load, Loaded, Stored, StoredCounts


@dataclass(frozen=True)
class Location:
    """Where a person finds the rows of a capture.

    Attributes:
        kind: what `name` is: `table` or `parquet`.
        name: of the view, or a pattern of files.
        link: opens the rows in a browser; None if nothing does.
        sign_in: who may sign in there; empty if nobody has to.
    """

    kind: str
    name: str
    link: str | None = None
    sign_in: str = ""


class Backend(Protocol):
    """Somewhere to load rows into."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Stored]]:
        """Load packets and flows of captures in place of their earlier ones, then count what can be read of each.

        Args:
            loads: each capture once; their batches take no time and no memory before the first is asked for.

        Raises:
            RowsMissing: it does not hold the packets that were sent of a capture; it says nothing of the others.
            FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows; likewise.
            Unreachable: it does not answer.
        """
        ...

    def remove(self, capture: str) -> int:
        """Delete the rows of a capture, whose lock is held. Returns how many packets it had."""
        ...

    def expire(self, capture: str) -> int:
        """Delete the packets of a capture, whose lock is held, and keep its flows. Returns how many it had."""
        ...

    def forget(self, experiment: str) -> None:
        """Delete what an experiment without captures still has, such as its views."""
        ...

    def stored(self, *, thorough: bool) -> Mapping[str, StoredCounts]:
        """Count by capture key what can be read.

        Args:
            thorough: read every column, to find those that cannot be read.

        Raises:
            BackendError: it cannot be asked.
        """
        ...

    def location(self, loaded: Loaded, *, capture: str, experiment: str) -> Location:
        """Return where a person finds the rows of a load."""
        ...
