"""What all back ends share: a load and its result, what is stored, and the errors.

How rows are stored is up to the folder of each back end.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc


class BackendError(Exception):
    """Base of all errors of a back end.

    BackendError
    ├── Unreachable     it does not answer, or stopped answering
    │   ├── Refused         it does not let us in, and waiting does not help
    │   └── Lost            it stopped in the middle of a load
    ├── NameTaken       a table or view of the user has the name that we need
    ├── Damaged         it cannot read its files
    ├── Exhausted       it has no memory, maps or open files left; no row is lost
    └── LoadFailed      it refused rows
        ├── Suspended       it has suspended the table for all loads
        ├── Scattered       the packets of the capture lie in too many partitions
        ├── RowsMissing     it does not store the packets that were sent
        └── FlowsDiffer     its flows do not have the packets and bytes of its rows
    """


class Unreachable(BackendError):
    """The back end does not answer, or stopped answering."""


class Refused(Unreachable):
    """The back end does not let us in, and waiting does not help."""


class Lost(Unreachable):
    """The back end stopped in the middle of a load, which may have been the cause."""


class NameTaken(BackendError):
    """A table or view of the user has the name that we need."""


class Damaged(BackendError):
    """The back end cannot read its files, for example because a power cut destroyed pages."""


class Exhausted(BackendError):
    """The back end has no memory, maps or open files left; no row is lost."""


class LoadFailed(BackendError):
    """The back end refused rows."""


class Suspended(LoadFailed):
    """The back end has suspended the table, for example on a full disk."""


class Scattered(LoadFailed):
    """The packets of a capture lie in more partitions than the back end can bear."""


class RowsMissing(LoadFailed):
    """The back end does not store what was sent of `capture`; `loaded` has what it stores."""

    def __init__(self, message: str, capture: str, loaded: "Loaded") -> None:
        super().__init__(message)
        self.capture = capture
        self.loaded = loaded


class FlowsDiffer(LoadFailed):
    """The flows do not have the packets or the bytes of the rows; `stored` has both."""

    def __init__(self, message: str, stored: "Stored") -> None:
        super().__init__(message)
        self.stored = stored


@dataclass(frozen=True)
class SentEarly:
    """Rows of a capture that a back end got while the capture was still read.

    Attributes:
        load: the number of the load that they are part of.
        read: packets of the capture.
        skipped: those of them that cannot be stored, by reason.
    """

    load: int
    read: int
    skipped: Mapping[str, int]


@dataclass(frozen=True)
class Load:
    """The rows of a capture to load.

    Attributes:
        capture: the capture key; nobody else may load it at the same time.
        experiment: its experiment.
        packets: batches of `rows.packets`.
        flows: batches of `rows.flows`, read when the packets are loaded.
        progress: receives the number of packets sent so far.
        months: in which the packets lie, as `2023-11`.
        early: the rows that the back end has already; `packets` are then those that are missing
            or changed.
        check: raises if somebody else may load the capture by now; called before rows of earlier
            loads are removed.
    """

    capture: str
    experiment: str
    packets: Iterator[pa.RecordBatch]
    flows: Iterator[pa.RecordBatch]
    progress: Callable[[int], None] = lambda _: None
    months: frozenset[str] = frozenset()
    early: SentEarly | None = None
    check: Callable[[], None] = lambda: None


@dataclass
class Part:
    """The rows of one capture for one table, and how many of them were sent.

    Attributes:
        capture: the capture key.
        experiment: its experiment.
        batches: of `rows.packets` or `rows.flows`.
        progress: receives the number of rows sent so far.
        read: packets, or flows, that were read so far.
        sent: those of them that can be stored.
        skipped: those that cannot, by reason.
        counts: whether to count what is read; not if some rows were sent early.
        check: see `Load`.
    """

    capture: str
    experiment: str
    batches: Iterator[pa.RecordBatch]
    progress: Callable[[int], None] = lambda _: None
    read: int = 0
    sent: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    counts: bool = True
    check: Callable[[], None] = lambda: None

    @classmethod
    def of_packets(cls, load: Load) -> "Part":
        """Return the packets of a load."""
        part = cls(load.capture, load.experiment, load.packets, load.progress, check=load.check)
        if load.early is None:
            return part
        skipped = Counter(load.early.skipped)
        sent = load.early.read - skipped.total()
        return replace(part, read=load.early.read, sent=sent, skipped=skipped, counts=False)

    def storable(self) -> Iterator[pa.RecordBatch]:
        """Yield what can be stored; count the rest by reason."""
        for batch in self.batches:
            skipped = Counter[str]()
            storable = _without_skipped(batch, skipped)
            if self.counts:
                self.skipped += skipped
                self.read += batch.num_rows
                self.sent += storable.num_rows
            yield storable
            self.progress(self.sent)


@dataclass(frozen=True)
class Loaded:
    """The result of a load of a capture.

    Attributes:
        rows: rows of the capture that can be read now.
        read: packets that were read.
        skipped: packets that became no row, by reason.
        replaced: rows of earlier loads that this one no longer has.
        has_view: whether the experiment has a view; False beyond the number of views that a server
            can bear.
    """

    rows: int
    read: int
    skipped: dict[str, int]
    replaced: int
    has_view: bool


@dataclass(frozen=True)
class Stored:
    """What a back end stores of a capture, packet by packet and in flows.

    Attributes:
        rows: rows of packets.
        bytes: their length on the wire.
        first: time of the earliest; None without packets.
        last: time of the latest.
        flows: rows of flows.
        flow_packets: packets in these.
        flow_bytes: bytes in these.
    """

    rows: int = 0
    bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None
    flows: int = 0
    flow_packets: int = 0
    flow_bytes: int = 0

    @property
    def agrees(self) -> bool:
        """Return whether the flows have every packet and every byte."""
        return (self.rows, self.bytes) == (self.flow_packets, self.flow_bytes)


@dataclass(frozen=True)
class StoredCounts:
    """The part of `Stored` that `verify` compares, quick to count for all captures at once.

    Attributes:
        rows: rows of packets.
        bytes: their length on the wire.
        flow_packets: packets in the flows.
        flow_bytes: bytes in these.
    """

    rows: int = 0
    bytes: int = 0
    flow_packets: int = 0
    flow_bytes: int = 0


def _without_skipped(batch: pa.RecordBatch, skipped: Counter[str]) -> pa.RecordBatch:
    if "skipped" not in batch.schema.names:
        return batch
    reasons = batch.column("skipped")
    if reasons.null_count < len(reasons):
        counts = pc.value_counts(reasons.drop_null()).to_pylist()
        skipped.update({entry["values"]: entry["counts"] for entry in counts})
        batch = batch.filter(pc.is_null(reasons))
    return batch.drop_columns(["skipped"])
