"""What QuestDB holds of every capture, in two questions however many captures there are."""

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from mt_pipeline.questdb.database import Damaged, Database
from mt_pipeline.questdb.schema import ensure_table, wait_until_readable
from mt_pipeline.questdb.tables import FLOWS, PACKETS, Table

_ROWS = "SELECT capture, count(), sum(frame_len::LONG) FROM captured_packets WHERE NOT gone{} GROUP BY capture"
_FLOWS = "SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone{} GROUP BY capture"


@dataclass(frozen=True)
class Held:
    """What QuestDB holds of a capture.

    Attributes:
        rows: rows of packets.
        bytes: their length on the wire.
        flow_packets: packets in its flows.
        flow_bytes: bytes in these.
    """

    rows: int = 0
    bytes: int = 0
    flow_packets: int = 0
    flow_bytes: int = 0


def held(database: Database) -> dict[str, Held]:
    """Count by capture key what can be read; a capture of which there is nothing is not in it.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: a table of the user's own has the name.
        LoadFailed: QuestDB has suspended a table.
        Damaged: it cannot read all of its files.
    """
    with database.connect() as connection:
        for table in (PACKETS, FLOWS):
            ensure_table(connection, table)
            wait_until_readable(connection, table)  # after a kill it may still be putting rows into the table
        rows, flows = _asked(connection, PACKETS, _ROWS), _asked(connection, FLOWS, _FLOWS)
    return {key: Held(*(number or 0 for number in (*rows.get(key, (0, 0)), *flows.get(key, (0, 0))))) for key in rows | flows}


def _asked(connection: psycopg.Connection, table: Table, question: LiteralString) -> dict[str, list[int | None]]:
    try:
        return {key: numbers for key, *numbers in connection.execute(sql.SQL(question).format(sql.SQL(""))).fetchall()}
    except psycopg.OperationalError:
        raise
    except psycopg.DatabaseError:
        if not (days := _unreadable_days(connection, table, question)):
            raise
        names = ", ".join(f"'{day}'" for day in days)
        raise Damaged(
            f"QuestDB cannot read its files of {len(days)} days of {table.name}: say `ALTER TABLE {table.name} DROP PARTITION LIST {names}` to it, "
            "then `mt-pipeline verify --repair`, and what was in them is loaded again"
        ) from None


def _unreadable_days(connection: psycopg.Connection, table: Table, question: LiteralString) -> list[str]:
    found = connection.execute(sql.SQL("SELECT name FROM table_partitions({})").format(sql.Literal(table.name))).fetchall()
    unreadable = []
    for day in sorted({name[:10] for (name,) in found}):  # a part of a day has a longer name
        try:
            connection.execute(sql.SQL(question).format(sql.SQL(" AND ts IN {}").format(sql.Literal(day)))).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError:
            unreadable.append(day)
    return unreadable
