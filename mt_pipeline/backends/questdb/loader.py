"""Loads captures: first their packets, then their flows, and compares both.

How the rows of one table are loaded is in `table_loader.py`.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
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
from mt_pipeline.backends.questdb import partitions
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table
from mt_pipeline.backends.questdb.table_loader import CAPTURE, load_table
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS

_PACKETS_QUERY = """
SELECT capture, count(), sum(frame_len::LONG), min(ts), max(ts) FROM captured_packets
WHERE NOT gone AND {} GROUP BY capture
"""
_FLOWS_QUERY = """
SELECT capture, count(), sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows
WHERE NOT gone AND {} GROUP BY capture
"""


def load(database: Database, loads: Sequence[Load]) -> list[tuple[Loaded, Stored]]:
    """Load the packets and the flows of captures together, and compare them.

    For a moment readers see new packets with earlier flows. The next load repairs an interrupted
    one.

    Args:
        database: where to.
        loads: the captures, each of them once.

    Raises:
        Scattered: the packets of a capture lie in more months than QuestDB can bear.
        RowsMissing: QuestDB does not store the packets that were sent of a capture.
        FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows.
        Unreachable: QuestDB does not answer.
        Lost: QuestDB answered, and stopped before the end.
        BackendError: any other error of `load_table`.
    """
    ensure(
        database,
        {load.experiment for load in loads},
        {load.capture: load.months for load in loads},
    )
    with _unreachable_is_lost():
        return _load(database, loads)


def ensure(database: Database, experiments: Set[str], months: Mapping[str, Set[str]]) -> None:
    """Have the tables and the views of flows, and room for packets of these months.

    It reports a taken name before anything is loaded.

    Args:
        database: where.
        experiments: the experiments of the captures.
        months: by capture key, the months in which its packets lie, as `2023-11`.

    Raises:
        NameTaken: a table or view of the user has the name that we need.
        Scattered: the packets of a capture lie in more months than QuestDB can bear.
        Unreachable: QuestDB does not answer.
    """
    with database.connect() as connection:
        ensure_table(connection, CAPTURES, lock=database.lock)
        ensure_table(connection, FLOWS, lock=database.lock)
        for experiment in experiments:
            ensure_view(
                connection, experiment, FLOWS, lock=database.lock, max_views=database.max_views
            )
        ensure_table(connection, lock=database.lock)
        partitions.check(connection, PACKETS, months)


def _load(database: Database, loads: Sequence[Load]) -> list[tuple[Loaded, Stored]]:
    packets = [Part.of_packets(load) for load in loads]
    flows = [Part(load.capture, load.experiment, load.flows, check=load.check) for load in loads]
    early = [load.early.load for load in loads if load.early]
    loaded = load_table(database, packets, number=early[0] if early else None)
    try:
        load_table(database, flows, table=FLOWS)
    except RowsMissing as missing:
        stored = summaries(database, [missing.capture])
        raise FlowsDiffer(str(missing), stored[missing.capture]) from None
    captures = [load.capture for load in loads]
    stored = summaries(database, captures)
    for capture, summary in stored.items():
        if not summary.agrees:
            raise FlowsDiffer(
                f"{capture}: the flows have {summary.flow_packets} packets and "
                f"{summary.flow_bytes} bytes, the rows {summary.rows} and {summary.bytes}; "
                "launch the capture again",
                summary,
            )
    return [(result, stored[capture]) for capture, result in zip(captures, loaded, strict=True)]


@contextmanager
def _unreachable_is_lost() -> Iterator[None]:
    """Distinguish a QuestDB that stopped during a load from one that never answered."""
    try:
        yield
    except Unreachable as error:
        raise Lost(str(error)) from None


def summaries(database: Database, captures: Sequence[str]) -> dict[str, Stored]:
    """Return by capture key what QuestDB stores."""
    with database.connect() as connection:
        packets, flows = (
            {
                capture: numbers
                for capture, *numbers in connection.execute(
                    sql.SQL(query).format(among(CAPTURE, captures)), captures
                )
            }
            for query in (_PACKETS_QUERY, _FLOWS_QUERY)
        )
    stored = {}
    for capture in captures:
        rows, length, first, last = packets.get(capture, (0, 0, None, None))
        flow_numbers = (number or 0 for number in flows.get(capture, (0, 0, 0)))
        stored[capture] = Stored(rows, length or 0, first, last, *flow_numbers)
    return stored
