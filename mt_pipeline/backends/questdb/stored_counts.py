"""What QuestDB holds of every capture, in two questions however many captures there are."""

import re
from collections.abc import Sequence

import psycopg

from mt_pipeline.backends.loads import Damaged, Exhausted, StoredCounts
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.partitions import sizes, stretches
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

_ROWS = "SELECT capture, count(), sum(frame_len::LONG) FROM captured_packets WHERE NOT gone{} GROUP BY capture"
_FLOWS = "SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone{} GROUP BY capture"
_LACKS = re.compile(
    r"\[(12|24)\]|errno=(12|24)\b|out of memory|memory limit|too many open files", re.IGNORECASE
)
"""ENOMEM, which is also said of maps, and EMFILE, as QuestDB says them."""

_STATEMENT_SECONDS = 3600  # of a thorough look at hundreds of millions of rows


def stored_counts(database: Database, *, thorough: bool = False) -> dict[str, StoredCounts]:
    """Count by capture key what can be read; a capture of which there is nothing is not in it.

    Args:
        database: where.
        thorough: read every column, not only those that are counted: a power cut may have taken pages of any.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: a table of the user's own has the name.
        LoadFailed: QuestDB has suspended a table.
        Damaged: it cannot read all of its files.
        Exhausted: it has too little left to read them with.
    """
    found: list[dict[str, list[int]]] = []
    cures = []
    with database.connect(statement_seconds=_STATEMENT_SECONDS) as connection:
        for table, question in ((PACKETS, _ROWS), (FLOWS, _FLOWS)):
            ensure_table(connection, table)
            wait_until_readable(
                connection, table
            )  # after a kill it may still be putting rows into the table
            questions = [question, *([_of_every_column(table)] if thorough else [])]
            try:
                found.append(_answered(connection, table, questions))
            except psycopg.OperationalError:
                raise
            except psycopg.DatabaseError as error:
                _check_exhausted(error)
                if not (unreadable := _unreadable(connection, table, questions)):
                    raise
                names = ", ".join(f"'{name}'" for name in unreadable)
                cures.append(
                    (
                        f"{len(unreadable)} partitions of {table.name}",
                        f"`ALTER TABLE {table.name} DROP PARTITION LIST {names}`",
                    )
                )
    if cures:
        raise Damaged(
            f"QuestDB cannot read its files of {' and '.join(what for what, _ in cures)}: say {' and '.join(cure for _, cure in cures)} to it, "
            "then `mt-pipeline verify --repair`, and what was in them is loaded again"
        )
    rows, flows = found
    return {
        key: StoredCounts(*rows.get(key, (0, 0)), *flows.get(key, (0, 0))) for key in rows | flows
    }


def _answered(
    connection: psycopg.Connection, table: Table, questions: Sequence[str]
) -> dict[str, list[int]]:
    """Ask about all of a table, and add up what the first question says of each capture."""
    total: dict[str, list[int]] = {}
    for stretch in stretches(connection, table):
        answers = [
            connection.execute(one.format(stretch.as_string(connection))).fetchall()
            for one in questions
        ]
        for key, *numbers in answers[0]:
            before = total.get(key, [0] * len(numbers))
            total[key] = [
                earlier + (number or 0) for earlier, number in zip(before, numbers, strict=True)
            ]
    return total


def _of_every_column(table: Table) -> str:
    """Ask for something that needs every value of every column."""
    asked = (
        f"sum(length({name}))" if kind in ("SYMBOL", "VARCHAR") else f"max({name})"
        for name, kind in table.types.items()
        if kind != "BOOLEAN"
    )
    return f"SELECT {', '.join(asked)} FROM {table.name} WHERE ts IS NOT NULL{{}}"


def _unreadable(
    connection: psycopg.Connection, table: Table, questions: Sequence[str]
) -> list[str]:
    """Name the partitions whose files cannot be read, each asked about by itself."""
    unreadable = []
    for name in sorted(sizes(connection, table)):
        try:
            for question in questions:
                connection.execute(question.format(f" AND ts IN '{name}'")).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as error:
            _check_exhausted(error)
            unreadable.append(name)
    return unreadable


def _check_exhausted(error: psycopg.DatabaseError) -> None:
    """Tell a lack of something from damage, of which the cure is to drop what cannot be read.

    Raises:
        Exhausted: it is one.
    """
    if _LACKS.search(str(error)):
        why = str(error).partition("\n")[0]
        raise Exhausted(
            f"QuestDB has too little memory, maps or open files left to read its tables ({why}): no row is lost, and none must be dropped. Start it "
            "again when less is asked of it; if that is no help, raise Linux's limit of maps (`sudo sysctl vm.max_map_count=262144`)"
        ) from None
