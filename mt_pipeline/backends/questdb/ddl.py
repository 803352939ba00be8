"""Creates the tables, and adds columns that an older release lacks. Views are in `views.py`."""

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TypeVar

from psycopg import Connection, DatabaseError, OperationalError, sql

from mt_pipeline.backends.loads import NameTaken, Suspended
from mt_pipeline.backends.questdb.locks import ViewsLock
from mt_pipeline.schema.tables import PACKETS, Table

TABLE = PACKETS.name

_TRIES, _PAUSE = 40, 0.05  # two seconds for others that do the same
T = TypeVar("T")

_CREATE = """
CREATE TABLE IF NOT EXISTS {} ({}) TIMESTAMP({}) PARTITION BY {} WAL DEDUP UPSERT KEYS({})
"""


def ensure_table(
    connection: Connection, table: Table = PACKETS, *, lock: ViewsLock | None = None
) -> None:
    """Create the table, or add the columns that a table of an older release lacks.

    Args:
        connection: to QuestDB.
        table: which table.
        lock: those who hold it create tables one after the other.

    Raises:
        NameTaken: the name belongs to a table or view that is not ours.
    """
    # Most often the table is complete. Then one query is enough, and nobody has to wait.
    with suppress(DatabaseError):
        if _mismatches(_columns(connection, table), table) == ([], {}):
            return
    retry_collisions(lambda: _ensure_table(connection, table), lock)


def wait_until_readable(connection: Connection, table: Table = PACKETS) -> None:
    """Wait until all acknowledged rows of a table can be read; QuestDB cannot wait for a view.

    Raises:
        Suspended: the server has suspended the table, for example on a full disk.
    """
    while True:
        try:
            connection.execute(f"SELECT wait_wal_table('{table.name}')")  # takes only a literal
        except DatabaseError as error:
            if "timeout" in str(error).lower():  # only the query timed out: ask again
                continue
            row = connection.execute(
                "SELECT errorTag, errorMessage FROM wal_tables() WHERE name = %s AND suspended",
                (table.name,),
            ).fetchone()
            if row is None:
                raise
            reason = " ".join(filter(None, row)) or "no reason given"
            raise Suspended(
                f"QuestDB has suspended {table.name} ({reason}): free some disk space, run "
                f"`ALTER TABLE {table.name} RESUME WAL` in QuestDB, then launch again"
            ) from None
        else:
            return


def retry_collisions(ensure: Callable[[], T], lock: ViewsLock | None) -> T:
    """Create something that others may create at the same time.

    QuestDB then reports that a name is busy, already exists, or has nothing to change. Processes
    that share a data folder take turns, because each such collision leaks memory of the server.
    """
    for _ in range(_TRIES):
        try:
            with lock() if lock else nullcontext():
                return ensure()
        except OperationalError:
            raise
        except DatabaseError:
            time.sleep(_PAUSE)
    return ensure()


def view_definitions(connection: Connection) -> dict[str, str]:
    """Return the definitions of all views by name, in lower case: QuestDB's names ignore case."""
    rows = connection.execute("SELECT view_name, view_sql FROM views()").fetchall()
    return {name.lower(): definition for name, definition in rows}


def _ensure_table(connection: Connection, table: Table) -> None:
    name, types = table.name, table.types
    if name in view_definitions(connection):
        raise NameTaken(
            f"QuestDB has a view {name} that is not ours: drop it, or use another QuestDB, "
            "then launch again"
        )
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(column),
            sql.SQL(kind),
            sql.SQL(" INDEX" if column in table.indexed else ""),
        )
        for column, kind in types.items()
    )
    connection.execute(
        sql.SQL(_CREATE).format(
            sql.Identifier(name),
            columns,
            sql.Identifier(table.keys[0]),
            sql.SQL(table.partition_by),
            sql.SQL(", ").join(map(sql.Identifier, table.keys)),
        )
    )
    wrong, missing = _mismatches(_columns(connection, table), table)
    if wrong:
        column = wrong[0]
        role = "key" if column in table.keys else "column"
        raise NameTaken(
            f"QuestDB has a table {name} that is not ours (no {role} {column} of type "
            f"{types[column]}): rename it, or use another QuestDB, then launch again"
        )
    for column, kind in missing.items():
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                sql.Identifier(name), sql.Identifier(column), sql.SQL(kind)
            )
        )
    if missing:
        wait_until_readable(connection, table)  # the table applies a new column like a row


def _mismatches(
    present: dict[str, tuple[str, bool]], table: Table
) -> tuple[list[str], dict[str, str]]:
    """Return the columns that show that a table is not ours, and the missing ones with types."""
    types = table.types
    wrong = [
        column
        for column in (*table.keys, *table.hidden)
        if present.get(column) != (types[column], column in table.keys)
    ]
    return wrong, {column: kind for column, kind in types.items() if column not in present}


def _columns(connection: Connection, table: Table) -> dict[str, tuple[str, bool]]:
    """Return by column its type, and whether it is one of the keys."""
    rows = connection.execute(
        sql.SQL('SELECT "column", type, upsertKey FROM (SHOW COLUMNS FROM {})').format(
            sql.Identifier(table.name)
        )
    ).fetchall()
    return {name: (kind.upper(), is_key) for name, kind, is_key in rows}
