"""The interface of a back end. Each back end is a folder here, and imports none of the others.

To add one, write a class with these methods, and add its name to `settings.BACKENDS` and a line to
`pipeline/workspace.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from mt_pipeline.backends.loads import Load, Loaded, Stored, StoredCounts


@dataclass(frozen=True)
class Location:
    """Where a person finds the rows of a capture.

    Attributes:
        kind: the kind of `name`: `table` or `parquet`.
        name: of the view, or a pattern of files.
        link: opens the rows in a browser; None if nothing does.
        sign_in: who may sign in there; empty if nobody has to.
    """

    kind: str
    name: str
    link: str | None = None
    sign_in: str = ""


class EarlyRows(Protocol):
    """Rows of a capture that is still read."""

    @property
    def load(self) -> int:
        """Return the number of the load that they are part of."""
        ...

    def send(self, batch: pa.RecordBatch) -> None:
        """Send a batch of `rows.packets`.

        Raises:
            BackendError: it cannot be sent.
        """
        ...


class Backend(Protocol):
    """Somewhere to load rows into."""

    @property
    def name(self) -> str:
        """Return what people call it."""
        ...

    def early_rows(self, capture: str, experiment: str) -> AbstractContextManager[EarlyRows] | None:
        """Return what takes rows of a capture before its load; None if nothing does.

        The caller holds the lock of the capture. The load sends the other rows, and counts all.
        """
        ...

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Stored]]:
        """Replace packets and flows of captures, then count what can be read of each.

        Args:
            loads: each capture once; a batch is only computed when it is taken.

        Raises:
            RowsMissing: the packets that were sent of a capture are not stored; the other captures
                are unchecked.
            FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows; the
                other captures are unchecked.
            Unreachable: the back end does not answer.
        """
        ...

    def remove(self, capture: str) -> int:
        """Delete the rows of a capture and return the number of its packets.

        The caller holds the lock of the capture.
        """
        ...

    def expire(self, capture: str) -> int:
        """Delete the packets of a capture, keep its flows, and return the number of its packets.

        The caller holds the lock of the capture.
        """
        ...

    def forget(self, experiment: str) -> None:
        """Delete what remains of an experiment without captures, such as its views."""
        ...

    def stored(self, *, thorough: bool) -> Mapping[str, StoredCounts]:
        """Count by capture key what can be read.

        Args:
            thorough: read every column, to find damaged ones.

        Raises:
            BackendError: the rows cannot be counted.
        """
        ...

    def location(self, loaded: Loaded, *, capture: str, experiment: str) -> Location:
        """Return where a person finds the rows of a load."""
        ...
