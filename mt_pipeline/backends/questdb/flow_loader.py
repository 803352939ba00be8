"""Loads captures: their packets, then their flows, and holds these against each other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg import sql

from mt_pipeline.backends.loads import (
    FlowsDiffer,
    Load,
    Loaded,
    Lost,
    Part,
    RowsMissing,
    Stored,
    Unreachable,
)
from mt_pipeline.backends.questdb import loader, partitions
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, ensure_view
from mt_pipeline.backends.questdb.loader import CAPTURE
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS

_OF_PACKETS = "SELECT capture, count(), sum(frame_len::LONG), min(ts), max(ts) FROM captured_packets WHERE NOT gone AND {} GROUP BY capture"
_OF_FLOWS = "SELECT capture, count(), sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone AND {} GROUP BY capture"


def load(database: Database, loads: Sequence[Load]) -> list[tuple[Loaded, Stored]]:
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
        for experiment in {one.experiment for one in loads}:
            ensure_view(connection, experiment, FLOWS, lock=database.lock)
        ensure_table(connection, lock=database.lock)
        partitions.check(connection, PACKETS, {one.capture: one.months for one in loads})
    with _begun():
        return _load(database, loads)


def _load(database: Database, loads: Sequence[Load]) -> list[tuple[Loaded, Stored]]:
    captures = [one.capture for one in loads]
    loaded = loader.load(
        database, [Part(one.capture, one.experiment, one.packets, one.progress) for one in loads]
    )
    try:
        loader.load(
            database, [Part(one.capture, one.experiment, one.flows) for one in loads], table=FLOWS
        )
    except RowsMissing as missing:
        raise FlowsDiffer(
            str(missing), summaries(database, [missing.capture])[missing.capture]
        ) from None
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


def summaries(database: Database, captures: Sequence[str]) -> dict[str, Stored]:
    """Ask what QuestDB holds of captures."""
    with database.connect() as connection:
        of_packets, of_flows = (
            {
                capture: numbers
                for capture, *numbers in connection.execute(
                    sql.SQL(question).format(among(CAPTURE, captures)), captures
                )
            }
            for question in (_OF_PACKETS, _OF_FLOWS)
        )
    found = {}
    for capture in captures:
        rows, length, first, last = of_packets.get(capture, (0, 0, None, None))
        found[capture] = Stored(
            rows,
            length or 0,
            first,
            last,
            *(number or 0 for number in of_flows.get(capture, (0, 0, 0))),
        )
    return found
