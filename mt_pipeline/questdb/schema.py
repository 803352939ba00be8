"""The table `captured_packets` and its views `packets_<experiment>`, made and kept up to date from the column table."""

from psycopg import Connection, errors, sql

from mt_pipeline.columns import COLUMNS
from mt_pipeline.questdb.database import NameTaken

TABLE = "captured_packets"
"""ONE table for all experiments: a wide table holds 145 files open, so a table per experiment ends at the 68th."""

HIDDEN = {"load": "LONG", "gone": "BOOLEAN"}
"""Columns that no view shows: the load that made the row, and whether the capture's last load no longer has it."""

MOST_VIEWS = 1000
"""Some 1,600 views fill the server's default memory."""

_TYPES = {**{column.name: column.type for column in COLUMNS}, **HIDDEN}
_INDEXED = "tls_sni"  # as the original has it


def view_name(experiment: str) -> str:
    """Name the view of an experiment."""
    return f"packets_{experiment}"


def ensure_table(connection: Connection) -> None:
    """Make the table, or add the columns that a table of an older release lacks.

    Raises:
        NameTaken: there is a table or view of that name that is not ours.
    """
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(sql.Identifier(name), sql.SQL(kind), sql.SQL(" INDEX" if name == _INDEXED else "")) for name, kind in _TYPES.items()
    )
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, capture, frame_number)").format(
            sql.Identifier(TABLE), columns
        )
    )
    present = _columns(connection, TABLE)
    if wrong := [name for name in ("ts", "capture", "frame_number", *HIDDEN) if present.get(name) != _TYPES[name]]:
        raise NameTaken(
            f"QuestDB has a {TABLE} that is not ours (no {wrong[0]} of type {_TYPES[wrong[0]]}): rename it, or use another QuestDB, then launch again"
        )
    for name, kind in _TYPES.items():
        if name not in present:
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(TABLE), sql.Identifier(name), sql.SQL(kind))
            )


def ensure_view(connection: Connection, experiment: str) -> bool:
    """Make the view of an experiment, or give an older one the present columns; readers see no gap.

    Returns:
        False if there are as many views as the server bears: the rows are in the table all the same.

    Raises:
        NameTaken: there is a table or view of that name that is not ours.
    """
    name = view_name(experiment)
    definition = _definition(experiment)
    views = _views(connection)
    if views.get(name) == definition.as_string(connection):
        return True
    if name in views and f"FROM {TABLE}" not in views[name].replace('"', ""):
        raise NameTaken(f"QuestDB has a view {name} that is not ours: rename or drop it, or rename the experiment's folder, then launch again")
    if name not in views and sum(view.startswith("packets_") for view in views) >= MOST_VIEWS:
        return False
    try:
        connection.execute(sql.SQL("CREATE OR REPLACE VIEW {} AS ({})").format(sql.Identifier(name), definition))
    except errors.DatabaseError as error:
        if name in _tables(connection):
            raise NameTaken(
                f"QuestDB has a table {name} of your own: `RENAME TABLE {name} TO {name}_old`, or rename the experiment's folder, then launch again"
            ) from None
        raise error from None
    return True


def drop_view(connection: Connection, experiment: str) -> None:
    """Remove the view of an experiment that has no captures any more, if it is ours."""
    name = view_name(experiment)
    views = _views(connection)
    if f"FROM {TABLE}" in views.get(name, "").replace('"', ""):
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))


def _definition(experiment: str) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in COLUMNS)
    # An experiment is [a-z0-9_]+ (captures/identity.py), so its literal is itself; a view takes no parameters.
    return sql.SQL("SELECT {} FROM {} WHERE experiment = {} AND NOT gone").format(columns, sql.Identifier(TABLE), sql.Literal(experiment))


def _columns(connection: Connection, table: str) -> dict[str, str]:
    return dict(connection.execute(sql.SQL('SELECT "column", type FROM (SHOW COLUMNS FROM {})').format(sql.Identifier(table))).fetchall())


def _views(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT view_name, view_sql FROM views()").fetchall())


def _tables(connection: Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT table_name FROM tables()").fetchall()}
