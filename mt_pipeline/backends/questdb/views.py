"""Creates, replaces and drops the views, one per table and experiment. Tables are in `ddl.py`."""

import re
from collections.abc import Container
from contextlib import suppress

from psycopg import Connection, DatabaseError, sql

from mt_pipeline.backends.loads import NameTaken
from mt_pipeline.backends.questdb.ddl import retry_collisions, view_definitions
from mt_pipeline.backends.questdb.locks import ViewsLock
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

MAX_VIEWS = 1000
"""Of packets and flows together. Some 1,600 views fill the server's default memory."""

_EXCEPT = """
(SELECT * FROM {0} WHERE ts < {2} UNION ALL SELECT * FROM {1}
UNION ALL SELECT * FROM {0} WHERE ts > {3}) TIMESTAMP(ts)
"""


def view_name(experiment: str) -> str:
    """Return the name of the view of the packets of an experiment."""
    return PACKETS.view(experiment)


def has_view(connection: Connection, experiment: str, table: Table = PACKETS) -> bool:
    """Return whether a view has the name of the view of an experiment, whoever created it."""
    row = connection.execute(
        "SELECT view_name FROM views() WHERE view_name = %s", (table.view(experiment),)
    ).fetchone()
    return row is not None


def ensure_view(
    connection: Connection,
    experiment: str,
    table: Table = PACKETS,
    *,
    lock: ViewsLock | None = None,
    max_views: int = MAX_VIEWS,
) -> bool:
    """Create the view of an experiment, or update the columns of an older one without a gap.

    Args:
        connection: to QuestDB.
        experiment: its folded name.
        table: whose view.
        lock: as for `ensure_table`.
        max_views: how many views the server can bear.

    Returns:
        False if there are already `max_views`. The rows are in the table nevertheless.

    Raises:
        NameTaken: the name belongs to a table or view that is not ours.
    """
    return retry_collisions(lambda: _ensure_view(connection, experiment, table, max_views), lock)


def drop_view(connection: Connection, experiment: str, table: Table = PACKETS) -> None:
    """Drop the view of an experiment that has no captures any more, if it is ours."""
    name = table.view(experiment)
    if _is_ours(view_definitions(connection).get(name, ""), experiment, table):
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))


def redirect_views(
    connection: Connection,
    table: Table,
    source: sql.Composed,
    experiments: Container[str] | None = None,
) -> None:
    """Make views of a table read another source with the same columns; readers see no gap.

    Args:
        connection: to QuestDB.
        table: whose views.
        source: what stands between FROM and WHERE: `entire_table`, or `patched`.
        experiments: all by default.
    """
    text = source.as_string(connection)
    for name, definition in view_definitions(connection).items():
        experiment = name.removeprefix(f"{table.views}_")
        selected = experiments is None or experiment in experiments
        if (
            selected
            and name == table.view(experiment)
            and _is_ours(definition, experiment, table)
            and _source(definition) != text
        ):
            redirected = definition.replace(
                f" FROM {_source(definition)} WHERE ", f" FROM {text} WHERE "
            )
            connection.execute(_create(name, sql.SQL(redirected)))


def entire_table(name: str) -> sql.Composed:
    """Build the source of a view that reads all of a table."""
    return sql.Composed([sql.Identifier(name)])


def patched(table: Table, first: str, last: str) -> sql.Composed:
    """Build the source of a view that reads the copy of a table for the times `first` to `last`.

    The three parts follow each other in time, so `TIMESTAMP(ts)` may assert that order, and
    queries by time keep working.
    """
    return sql.SQL(" ".join(_EXCEPT.split())).format(
        sql.Identifier(table.name),
        sql.Identifier(table.beside),
        sql.Literal(first),
        sql.Literal(last),
    )


def _ensure_view(connection: Connection, experiment: str, table: Table, max_views: int) -> bool:
    name = table.view(experiment)
    present = view_definitions(connection)
    definition = _definition(experiment, table, entire_table(table.name))
    if name in present and _is_ours(present[name], experiment, table):
        source = _source(present[name])
        if table.beside in source:  # a rewrite is under way, and redirects the view at its end
            definition = _definition(experiment, table, sql.Composed([sql.SQL(source)]))
    if present.get(name) == definition.as_string(connection):
        return True
    if name in present and not _is_ours(present[name], experiment, table):
        raise NameTaken(
            f"QuestDB has a view {name} that is not ours: rename or drop it, "
            "or rename the experiment's folder, then launch again"
        )
    if name not in present:
        if name in _tables(connection):
            raise NameTaken(
                f"QuestDB has a table {name} of your own: `RENAME TABLE {name} TO {name}_old`, "
                "or rename the experiment's folder, then launch again"
            )
        prefixes = (f"{PACKETS.views}_", f"{FLOWS.views}_")
        if sum(view.startswith(prefixes) for view in present) >= max_views:
            return False
    _create_or_replace(connection, name, definition)
    return True


def _create_or_replace(connection: Connection, name: str, definition: sql.Composed) -> None:
    create = _create(name, definition)
    try:
        connection.execute(create)
    except DatabaseError as error:
        if "already exists" not in str(error) or name in view_definitions(connection):
            raise
        # A power cut destroyed the files of the view. DROP fails on them, but frees the name.
        with suppress(DatabaseError):
            connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(create)


def _create(name: str, definition: sql.Composable) -> sql.Composed:
    return sql.SQL("CREATE OR REPLACE VIEW {} AS ({})").format(sql.Identifier(name), definition)


def _definition(experiment: str, table: Table, source: sql.Composed) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    # A view takes no parameters. An experiment is [a-z0-9_]+ (captures/naming.py), so its
    # literal needs no escapes.
    return sql.SQL("SELECT {} FROM {} WHERE experiment = {} AND NOT gone").format(
        columns, source, sql.Literal(experiment)
    )


def _is_ours(definition: str, experiment: str, table: Table) -> bool:
    """Return whether a view has the shape that `_definition` of any release gives it."""
    name = f'"({table.name}|{table.beside})"'
    part = rf"SELECT \* FROM {name}( WHERE ts [<>] '[-0-9T:.]+')?"
    source = rf"({name}|\({part}( UNION ALL {part})*\) TIMESTAMP\(ts\))"
    shape = (
        rf"""SELECT "\w+"(, "\w+")* FROM {source} WHERE experiment = '{experiment}' AND NOT gone"""
    )
    return re.fullmatch(shape, definition) is not None


def _source(definition: str) -> str:
    """Return what one of our views reads: a table, or parts of two tables."""
    return definition.partition(" FROM ")[2].rpartition(" WHERE experiment = ")[0]


def _tables(connection: Connection) -> set[str]:
    rows = connection.execute("SELECT table_name FROM tables() WHERE table_type <> 'V'").fetchall()
    return {name.lower() for (name,) in rows}
