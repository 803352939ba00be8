"""What QuestDB holds of every capture, in two questions however many captures there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from mt_pipeline.questdb.database import Damaged, Database
from mt_pipeline.questdb.schema import ensure_table, wait_until_readable
from mt_pipeline.questdb.tables import FLOWS, PACKETS, Table

_ROWS = "SELECT capture, count(), sum(frame_len::LONG) FROM captured_packets WHERE NOT gone{} GROUP BY capture"
_FLOWS = "SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone{} GROUP BY capture"
_STATEMENT_SECONDS = 3600  # of a thorough look at hundreds of millions of rows


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


def held(database: Database, *, thorough: bool = False) -> dict[str, Held]:
    """Count by capture key what can be read; a capture of which there is nothing is not in it.

    Args:
        database: where.
        thorough: read every column, not only those that are counted: a power cut may have taken pages of any.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: a table of the user's own has the name.
        LoadFailed: QuestDB has suspended a table.
        Damaged: it cannot read all of its files.
    """
    found: list[dict[str, list[int | None]]] = []
    cures = []
    with database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table, question in ((PACKETS, _ROWS), (FLOWS, _FLOWS)):
            ensure_table(connection, table)
            wait_until_readable(connection, table)  # after a kill it may still be putting rows into the table
            questions = [question, *([_of_every_column(table)] if thorough else [])]
            try:
                answers = [connection.execute(one.format("")).fetchall() for one in questions]
                found.append({key: numbers for key, *numbers in answers[0]})
            except psycopg.OperationalError:
                raise
            except psycopg.DatabaseError:
                if not (days := _unreadable_days(connection, table, questions)):
                    raise
                names = ", ".join(f"'{day}'" for day in days)
                cures.append((f"{len(days)} days of {table.name}", f"`ALTER TABLE {table.name} DROP PARTITION LIST {names}`"))
    if cures:
        raise Damaged(
            f"QuestDB cannot read its files of {' and '.join(what for what, _ in cures)}: say {' and '.join(cure for _, cure in cures)} to it, "
            "then `mt-pipeline verify --repair`, and what was in them is loaded again"
        )
    rows, flows = found
    return {key: Held(*(number or 0 for number in (*rows.get(key, (0, 0)), *flows.get(key, (0, 0))))) for key in rows | flows}


def _of_every_column(table: Table) -> str:
    """Ask for something that needs every value of every column."""
    asked = (f"sum(length({name}))" if kind in ("SYMBOL", "VARCHAR") else f"max({name})" for name, kind in table.types.items() if kind != "BOOLEAN")
    return f"SELECT {', '.join(asked)} FROM {table.name} WHERE ts IS NOT NULL{{}}"


def _unreadable_days(connection: psycopg.Connection, table: Table, questions: Sequence[str]) -> list[str]:
    found = connection.execute(sql.SQL("SELECT name FROM table_partitions({})").format(sql.Literal(table.name))).fetchall()
    unreadable = []
    for day in sorted({name[:10] for (name,) in found}):  # a part of a day has a longer name
        try:
            for question in questions:
                connection.execute(question.format(f" AND ts IN '{day}'")).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError:
            unreadable.append(day)
    return unreadable
