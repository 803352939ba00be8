"""Loads a capture: its packets, then its flows, and holds these against each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from mt_pipeline.questdb import loader
from mt_pipeline.questdb.database import Database, LoadFailed
from mt_pipeline.questdb.loader import Loaded, RowsMissing
from mt_pipeline.questdb.schema import ensure_table, ensure_view
from mt_pipeline.questdb.tables import CAPTURES, FLOWS

_OF_PACKETS = "SELECT count(), sum(frame_len::LONG), min(ts), max(ts) FROM captured_packets WHERE capture = %s AND NOT gone"
_OF_FLOWS = "SELECT count(), sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE capture = %s AND NOT gone"


@dataclass(frozen=True)
class Summary:
    """What QuestDB holds of a capture, packet by packet and in flows.

    Attributes:
        rows: rows of packets.
        bytes: their length on the wire.
        first: time of the earliest; None without packets.
        last: time of the latest.
        flows: rows of flows.
        flow_packets: packets in these.
        flow_bytes: bytes in these.
    """

    rows: int
    bytes: int
    first: datetime | None
    last: datetime | None
    flows: int
    flow_packets: int
    flow_bytes: int

    @property
    def agrees(self) -> bool:
        """Whether the flows have every packet and every byte."""
        return (self.rows, self.bytes) == (self.flow_packets, self.flow_bytes)


class FlowsDiffer(LoadFailed):
    """The flows that QuestDB holds do not have the packets or the bytes of its rows; `summary` says what they have."""

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


def load(
    database: Database,
    packets: Iterator[pa.RecordBatch],
    flows: Iterator[pa.RecordBatch],
    *,
    capture: str,
    experiment: str,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Loaded, Summary]:
    """Load the packets and the flows of a capture, and compare them.

    Readers see new packets beside earlier flows for a moment. A load that breaks off is made good by the next one.

    Args:
        database: where to.
        packets: of `rows.rows`.
        flows: of `flows.flows`, taken when the packets are in.
        capture: the capture key; nobody else may load it at the same time.
        experiment: its experiment, for the views.
        progress: told the number of packets sent so far.

    Raises:
        RowsMissing: QuestDB does not hold the packets that were sent.
        FlowsDiffer: the flows do not have the packets and bytes of the rows.
        DatabaseError: else what `loader.load` says.
    """
    with database.connect() as connection:  # a name that is taken is told before anything is loaded
        ensure_table(connection, CAPTURES)
        ensure_table(connection, FLOWS)
        ensure_view(connection, experiment, FLOWS)
    loaded = loader.load(database, packets, capture=capture, experiment=experiment, progress=progress)
    try:
        loader.load(database, flows, capture=capture, experiment=experiment, table=FLOWS)
    except RowsMissing as missing:
        raise FlowsDiffer(str(missing), summary(database, capture)) from None
    stored = summary(database, capture)
    if not stored.agrees:
        raise FlowsDiffer(
            f"{capture}: the flows have {stored.flow_packets} packets and {stored.flow_bytes} bytes, the rows {stored.rows} and {stored.bytes}; "
            "launch the capture again",
            stored,
        )
    return loaded, stored


def summary(database: Database, capture: str) -> Summary:
    """Ask what QuestDB holds of a capture."""
    with database.connect() as connection:
        rows, length, first, last = connection.execute(_OF_PACKETS, (capture,)).fetchone() or (0, 0, None, None)
        of_flows = connection.execute(_OF_FLOWS, (capture,)).fetchone() or ()
    return Summary(rows, length or 0, first, last, *(number or 0 for number in of_flows))
