"""Loads captures: their packets, then their flows, and holds these against each other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from psycopg import sql

from mt_pipeline.backends.questdb import loader, partitions
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.database import Database, LoadFailed, Lost, Unreachable
from mt_pipeline.backends.questdb.ddl import ensure_table, ensure_view
from mt_pipeline.backends.questdb.loader import CAPTURE, Loaded, Part, RowsMissing
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS

_OF_PACKETS = "SELECT capture, count(), sum(frame_len::LONG), min(ts), max(ts) FROM captured_packets WHERE NOT gone AND {} GROUP BY capture"
_OF_FLOWS = "SELECT capture, count(), sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone AND {} GROUP BY capture"


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


@dataclass(frozen=True)
class Load:
    """What is to be loaded of a capture.

    Attributes:
        capture: the capture key; nobody else may load it at the same time.
        experiment: its experiment, for the views.
        packets: of `rows.rows`.
        flows: of `flows.flows`, taken when the packets are in.
        progress: told the number of packets sent so far.
        months: those in which the packets lie, as `2023-11`.
    """

    capture: str
    experiment: str
    packets: Iterator[pa.RecordBatch]
    flows: Iterator[pa.RecordBatch]
    progress: Callable[[int], None] = lambda _: None
    months: frozenset[str] = frozenset()


def load(database: Database, loads: Sequence[Load]) -> list[tuple[Loaded, Summary]]:
    """Load the packets and the flows of captures, and compare them; what QuestDB asks for a load is shared by all of them.

    Readers see new packets beside earlier flows for a moment. A load that breaks off is made good by the next one.

    Args:
        database: where to.
        loads: the captures, each of them once.

    Raises:
        Scattered: the packets of a capture lie in more months than QuestDB bears.
        RowsMissing: QuestDB does not hold the packets that were sent of a capture.
        FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows.
        Unreachable: QuestDB does not answer.
        Lost: it did, and stopped before the end.
        DatabaseError: else what `loader.load` says.
    """
    with database.connect() as connection:  # a name that is taken is told before anything is loaded
        ensure_table(connection, CAPTURES, lock=database.lock)
        ensure_table(connection, FLOWS, lock=database.lock)
        ensure_table(connection, lock=database.lock)
        partitions.check(connection, PACKETS, {one.capture: one.months for one in loads})
        for experiment in {one.experiment for one in loads}:
            ensure_view(connection, experiment, FLOWS, lock=database.lock)
    with _begun():
        return _load(database, loads)


def _load(database: Database, loads: Sequence[Load]) -> list[tuple[Loaded, Summary]]:
    captures = [one.capture for one in loads]
    loaded = loader.load(database, [Part(one.capture, one.experiment, one.packets, one.progress) for one in loads])
    try:
        loader.load(database, [Part(one.capture, one.experiment, one.flows) for one in loads], table=FLOWS)
    except RowsMissing as missing:
        raise FlowsDiffer(str(missing), summaries(database, [missing.capture])[missing.capture]) from None
    stored = summaries(database, captures)
    for capture, one in stored.items():
        if not one.agrees:
            raise FlowsDiffer(
                f"{capture}: the flows have {one.flow_packets} packets and {one.flow_bytes} bytes, the rows {one.rows} and {one.bytes}; "
                "launch the capture again",
                one,
            )
    return [(one, stored[capture]) for capture, one in zip(captures, loaded, strict=True)]


@contextmanager
def _begun() -> Iterator[None]:
    """Tell a QuestDB that was there and stopped from one that was away."""
    try:
        yield
    except Unreachable as error:
        raise Lost(str(error)) from None


def summaries(database: Database, captures: Sequence[str]) -> dict[str, Summary]:
    """Ask what QuestDB holds of captures."""
    with database.connect() as connection:
        of_packets, of_flows = (
            {capture: numbers for capture, *numbers in connection.execute(sql.SQL(question).format(among(CAPTURE, captures)), captures)}
            for question in (_OF_PACKETS, _OF_FLOWS)
        )
    found = {}
    for capture in captures:
        rows, length, first, last = of_packets.get(capture, (0, 0, None, None))
        found[capture] = Summary(rows, length or 0, first, last, *(number or 0 for number in of_flows.get(capture, (0, 0, 0))))
    return found
