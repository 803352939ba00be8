"""Adds and updates rows of the table `captures`. Its columns are in `schema/captures.py`."""

from collections.abc import Mapping
from datetime import datetime

from psycopg import sql

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table
from mt_pipeline.schema.tables import CAPTURES

Value = str | int | float | bool | datetime | None


def add(database: Database, row: Mapping[str, Value]) -> None:
    """Add a row, or replace that of the same capture and time; it can be read a moment later.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: the name belongs to a table or view that is not ours.
        psycopg.Error: QuestDB refuses the row.
    """
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(CAPTURES.name),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
    values = [
        value.replace("\0", "") if isinstance(value, str) else value for value in row.values()
    ]  # PostgreSQL's protocol cannot carry a NUL character
    with database.connect() as connection:
        ensure_table(connection, CAPTURES, lock=database.lock)
        connection.execute(statement, values)


def update_owed(database: Database, capture: str, *, loaded_at: datetime, owed: int) -> None:
    """Update the number of answers that are still due for a load, if it has a row.

    Args:
        database: where QuestDB is.
        capture: capture key.
        loaded_at: when the load ended, as its row has it.
        owed: endpoints whose answer is still due.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: the name belongs to a table or view that is not ours.
        psycopg.Error: QuestDB refuses the update.
    """
    with database.connect() as connection:
        ensure_table(connection, CAPTURES, lock=database.lock)
        connection.execute(
            f"UPDATE {CAPTURES.name} SET owed = %s WHERE capture = %s AND ts = %s",
            (owed, capture, loaded_at),
        )
