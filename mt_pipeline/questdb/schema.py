"""The table `captured_packets` and its views `packets_<experiment>`, made and kept up to date from the column table."""

import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from psycopg import Connection, DatabaseError, OperationalError, sql

from mt_pipeline.columns import COLUMNS
from mt_pipeline.questdb.database import LoadFailed, NameTaken

TABLE = "captured_packets"
"""ONE table for all experiments: a wide table holds 145 files open, so a table per experiment ends at the 68th."""

HIDDEN = {"load": "LONG", "gone": "BOOLEAN"}
"""Columns that no view shows: the load that made the row, and whether the capture's last load no longer has it."""

MOST_VIEWS = 1000
"""Some 1,600 views fill the server's default memory."""

_TYPES = {**{column.name: column.type for column in COLUMNS}, **HIDDEN}
_TRIES, _PAUSE = 40, 0.05  # two seconds of others at the same work
T = TypeVar("T")
_INDEXED = "tls_sni"  # as the original has it


def view_name(experiment: str) -> str:
    """Name the view of an experiment."""
    return f"packets_{experiment}"


def ensure_table(connection: Connection) -> None:
    """Make the table, or add the columns that a table of an older release lacks.

    Raises:
        NameTaken: there is a table or view of that name that is not ours.
    """
    _patiently(connection, lambda: _ensure_table(connection))


def ensure_view(connection: Connection, experiment: str) -> bool:
    """Make the view of an experiment, or give an older one the present columns; readers see no gap.

    Returns:
        False if there are as many views as the server bears: the rows are in the table all the same.

    Raises:
        NameTaken: there is a table or view of that name that is not ours.
    """
    return _patiently(connection, lambda: _ensure_view(connection, experiment))


def drop_view(connection: Connection, experiment: str) -> None:
    """Remove the view of an experiment that has no captures any more, if it is ours."""
    name = view_name(experiment)
    if _is_ours(_views(connection).get(name, ""), experiment):
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))


def wait_until_readable(connection: Connection) -> None:
    """Wait until the table holds all that was acknowledged; only the physical table can be waited for.

    Raises:
        LoadFailed: the server has suspended the table, for example on a full disk.
    """
    while True:
        try:
            connection.execute(f"SELECT wait_wal_table('{TABLE}')")  # it takes a literal only
        except DatabaseError as error:
            if "timeout" in str(error).lower():  # of the query, not of the table: it goes on
                continue
            why = connection.execute("SELECT errorTag, errorMessage FROM wal_tables() WHERE name = %s AND suspended", (TABLE,)).fetchone()
            if why is None:
                raise
            reason = " ".join(filter(None, why)) or "no reason given"
            raise LoadFailed(
                f"QuestDB has suspended {TABLE} ({reason}): free some disk, say `ALTER TABLE {TABLE} RESUME WAL` to it, then launch again"
            ) from None
        else:
            return


def _patiently(connection: Connection, ensure: Callable[[], T]) -> T:
    """Do what others may do at the same moment: QuestDB answers then that a name is busy, exists already, or has nothing to change.

    One after the other where they share a machine, as each such collision costs the server some memory for good.
    """
    lock = FileLock(Path(tempfile.gettempdir()) / f"mt_pipeline-{os.getuid()}-questdb-{connection.info.host}-{connection.info.port}.lock")
    for _ in range(_TRIES):
        try:
            with lock:
                return ensure()
        except OperationalError:
            raise
        except DatabaseError:
            time.sleep(_PAUSE)
    return ensure()


def _ensure_table(connection: Connection) -> None:
    if TABLE in _views(connection):
        raise NameTaken(f"QuestDB has a view {TABLE} that is not ours: drop it, or use another QuestDB, then launch again")
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(sql.Identifier(name), sql.SQL(kind), sql.SQL(" INDEX" if name == _INDEXED else "")) for name, kind in _TYPES.items()
    )
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, capture, frame_number)").format(
            sql.Identifier(TABLE), columns
        )
    )
    present = _columns(connection)
    if wrong := [name for name in ("ts", "capture", "frame_number", *HIDDEN) if present.get(name) != _TYPES[name]]:
        raise NameTaken(
            f"QuestDB has a {TABLE} that is not ours (no {wrong[0]} of type {_TYPES[wrong[0]]}): rename it, or use another QuestDB, then launch again"
        )
    missing = {name: kind for name, kind in _TYPES.items() if name not in present}
    for name, kind in missing.items():
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(TABLE), sql.Identifier(name), sql.SQL(kind))
        )
    if missing:
        wait_until_readable(connection)  # a column is there when the table has applied it


def _ensure_view(connection: Connection, experiment: str) -> bool:
    name, definition = view_name(experiment), _definition(experiment)
    views = _views(connection)
    if views.get(name) == definition.as_string(connection):
        return True
    if name in views and not _is_ours(views[name], experiment):
        raise NameTaken(f"QuestDB has a view {name} that is not ours: rename or drop it, or rename the experiment's folder, then launch again")
    if name not in views:
        if name in _tables(connection):
            raise NameTaken(
                f"QuestDB has a table {name} of your own: `RENAME TABLE {name} TO {name}_old`, or rename the experiment's folder, then launch again"
            )
        if sum(view.startswith("packets_") for view in views) >= MOST_VIEWS:
            return False
    connection.execute(sql.SQL("CREATE OR REPLACE VIEW {} AS ({})").format(sql.Identifier(name), definition))
    return True


def _definition(experiment: str) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in COLUMNS)
    # An experiment is [a-z0-9_]+ (captures/identity.py), so its literal is itself; a view takes no parameters.
    return sql.SQL("SELECT {} FROM {} WHERE experiment = {} AND NOT gone").format(columns, sql.Identifier(TABLE), sql.Literal(experiment))


def _is_ours(definition: str, experiment: str) -> bool:
    """Say whether a view is one of ours, of whatever release: the shape of `_definition` and no other."""
    return re.fullmatch(rf"""SELECT "\w+"(, "\w+")* FROM "{TABLE}" WHERE experiment = '{experiment}' AND NOT gone""", definition) is not None


def _columns(connection: Connection) -> dict[str, str]:
    rows = connection.execute(sql.SQL('SELECT "column", type FROM (SHOW COLUMNS FROM {})').format(sql.Identifier(TABLE))).fetchall()
    return {name: kind.upper() for name, kind in rows}


def _views(connection: Connection) -> dict[str, str]:
    """List the views by name; QuestDB's names know no case."""
    return {name.lower(): definition for name, definition in connection.execute("SELECT view_name, view_sql FROM views()").fetchall()}


def _tables(connection: Connection) -> set[str]:
    return {name.lower() for (name,) in connection.execute("SELECT table_name FROM tables() WHERE table_type <> 'V'").fetchall()}
