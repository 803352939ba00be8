"""The tables and their views, one for each experiment, made and kept up to date from the column tables."""

import re
import time
from collections.abc import Callable, Container
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from psycopg import Connection, DatabaseError, OperationalError, sql

from mt_pipeline.backends.loads import NameTaken, Suspended
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table

TABLE = PACKETS.name

MOST_VIEWS = 1000
"""Of packets and flows together. Some 1,600 views fill the server's default memory."""

_TRIES, _PAUSE = 40, 0.05  # two seconds of others at the same work
T = TypeVar("T")


def view_name(experiment: str) -> str:
    """Name the view of the packets of an experiment."""
    return PACKETS.view(experiment)


def has_view(connection: Connection, experiment: str, table: Table = PACKETS) -> bool:
    """Say whether there is a view of an experiment, or anything else that is called so."""
    return (
        connection.execute(
            "SELECT view_name FROM views() WHERE view_name = %s", (table.view(experiment),)
        ).fetchone()
        is not None
    )


def ensure_table(
    connection: Connection, table: Table = PACKETS, *, lock: Path | None = None
) -> None:
    """Make the table, or add the columns that a table of an older release lacks.

    Args:
        connection: to QuestDB.
        table: which one.
        lock: a file by which those take turns who may do so at the same moment.

    Raises:
        NameTaken: there is a table or view of that name that is not ours.
    """
    with suppress(
        DatabaseError
    ):  # it is mostly there, as it should be: then one question is enough, and hinders nobody
        if _lacks(_columns(connection, table), table) == ([], {}):
            return
    _patiently(lambda: _ensure_table(connection, table), lock)


def ensure_view(
    connection: Connection, experiment: str, table: Table = PACKETS, *, lock: Path | None = None
) -> bool:
    """Make the view of an experiment, or give an older one the present columns; readers see no gap.

    Args:
        connection: to QuestDB.
        experiment: its folded name.
        table: whose view.
        lock: as for `ensure_table`.

    Returns:
        False if there are as many views as the server bears: the rows are in the table all the same.

    Raises:
        NameTaken: there is a table or view of that name that is not ours.
    """
    return _patiently(lambda: _ensure_view(connection, experiment, table), lock)


def drop_view(connection: Connection, experiment: str, table: Table = PACKETS) -> None:
    """Remove the view of an experiment that has no captures any more, if it is ours."""
    name = table.view(experiment)
    if _is_ours(_views(connection).get(name, ""), experiment, table):
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))


def turn_views(
    connection: Connection,
    table: Table,
    source: sql.Composed,
    experiments: Container[str] | None = None,
) -> None:
    """Have the views of a table, or those of some experiments, read something else with the same columns; readers see no gap.

    Args:
        connection: to QuestDB.
        table: whose views.
        source: what stands between FROM and WHERE: `whole`, or `patched`.
        experiments: all by default.
    """
    text = source.as_string(connection)
    for name, definition in _views(connection).items():
        experiment = name.removeprefix(f"{table.views}_")
        chosen = experiments is None or experiment in experiments
        if (
            chosen
            and name == table.view(experiment)
            and _is_ours(definition, experiment, table)
            and _source(definition) != text
        ):
            turned = sql.SQL(
                definition.replace(f" FROM {_source(definition)} WHERE ", f" FROM {text} WHERE ")
            )
            connection.execute(
                sql.SQL("CREATE OR REPLACE VIEW {} AS ({})").format(sql.Identifier(name), turned)
            )


def whole(name: str) -> sql.Composed:
    """Read all of a table."""
    return sql.Composed([sql.Identifier(name)])


def patched(table: Table, first: str, last: str) -> sql.Composed:
    """Read a table, but for a stretch of its time, `first` to `last`, for which its table beside stands in.

    The three follow each other in time, so what is asked by time goes on; QuestDB only has to be told so.
    """
    return sql.SQL(
        "(SELECT * FROM {0} WHERE ts < {2} UNION ALL SELECT * FROM {1} UNION ALL SELECT * FROM {0} WHERE ts > {3}) TIMESTAMP(ts)"
    ).format(
        sql.Identifier(table.name),
        sql.Identifier(table.beside),
        sql.Literal(first),
        sql.Literal(last),
    )


def wait_until_readable(connection: Connection, table: Table = PACKETS) -> None:
    """Wait until a table holds all that was acknowledged; only the physical table can be waited for.

    Raises:
        Suspended: the server has suspended the table, for example on a full disk.
    """
    while True:
        try:
            connection.execute(f"SELECT wait_wal_table('{table.name}')")  # it takes a literal only
        except DatabaseError as error:
            if "timeout" in str(error).lower():  # of the query, not of the table: it goes on
                continue
            why = connection.execute(
                "SELECT errorTag, errorMessage FROM wal_tables() WHERE name = %s AND suspended",
                (table.name,),
            ).fetchone()
            if why is None:
                raise
            reason = " ".join(filter(None, why)) or "no reason given"
            raise Suspended(
                f"QuestDB has suspended {table.name} ({reason}): free some disk, say `ALTER TABLE {table.name} RESUME WAL` to it, then launch again"
            ) from None
        else:
            return


def _patiently(ensure: Callable[[], T], lock: Path | None) -> T:
    """Do what others may do at the same moment: QuestDB answers then that a name is busy, exists already, or has nothing to change.

    One after the other where they share a data folder, as each such collision costs the server some memory for good.
    """
    turn = FileLock(lock) if lock else nullcontext()
    for _ in range(_TRIES):
        try:
            with turn:
                return ensure()
        except OperationalError:
            raise
        except DatabaseError:
            time.sleep(_PAUSE)
    return ensure()


def _ensure_table(connection: Connection, table: Table) -> None:
    name, types = table.name, table.types
    if name in _views(connection):
        raise NameTaken(
            f"QuestDB has a view {name} that is not ours: drop it, or use another QuestDB, then launch again"
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
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} ({}) TIMESTAMP({}) PARTITION BY {} WAL DEDUP UPSERT KEYS({})"
        ).format(
            sql.Identifier(name),
            columns,
            sql.Identifier(table.keys[0]),
            sql.SQL(table.partition_by),
            sql.SQL(", ").join(map(sql.Identifier, table.keys)),
        )
    )
    wrong, missing = _lacks(_columns(connection, table), table)
    if wrong:
        what = f"no {'key' if wrong[0] in table.keys else 'column'} {wrong[0]} of type {types[wrong[0]]}"
        raise NameTaken(
            f"QuestDB has a table {name} that is not ours ({what}): rename it, or use another QuestDB, then launch again"
        )
    for column, kind in missing.items():
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                sql.Identifier(name), sql.Identifier(column), sql.SQL(kind)
            )
        )
    if missing:
        wait_until_readable(connection, table)  # a column is there when the table has applied it


def _lacks(present: dict[str, tuple[str, bool]], table: Table) -> tuple[list[str], dict[str, str]]:
    """Say which columns show that a table is not ours, and which it lacks, with their types."""
    types = table.types
    wrong = [
        column
        for column in (*table.keys, *table.hidden)
        if present.get(column) != (types[column], column in table.keys)
    ]
    return wrong, {column: kind for column, kind in types.items() if column not in present}


def _ensure_view(connection: Connection, experiment: str, table: Table) -> bool:
    name = table.view(experiment)
    views = _views(connection)
    definition = _definition(experiment, table, whole(table.name))
    if (
        name in views
        and _is_ours(views[name], experiment, table)
        and table.beside in _source(views[name])
    ):  # a rewriting turns it back
        definition = _definition(experiment, table, sql.Composed([sql.SQL(_source(views[name]))]))
    if views.get(name) == definition.as_string(connection):
        return True
    if name in views and not _is_ours(views[name], experiment, table):
        raise NameTaken(
            f"QuestDB has a view {name} that is not ours: rename or drop it, or rename the experiment's folder, then launch again"
        )
    if name not in views:
        if name in _tables(connection):
            raise NameTaken(
                f"QuestDB has a table {name} of your own: `RENAME TABLE {name} TO {name}_old`, or rename the experiment's folder, then launch again"
            )
        if (
            sum(view.startswith((f"{PACKETS.views}_", f"{FLOWS.views}_")) for view in views)
            >= MOST_VIEWS
        ):
            return False
    create = sql.SQL("CREATE OR REPLACE VIEW {} AS ({})").format(sql.Identifier(name), definition)
    try:
        connection.execute(create)
    except DatabaseError as error:
        if "already exists" not in str(error) or name in _views(connection):
            raise
        with suppress(
            DatabaseError
        ):  # a power cut took the files of the view, and this fails over them, but frees its name
            connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(create)
    return True


def _definition(experiment: str, table: Table, source: sql.Composed) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    # An experiment is [a-z0-9_]+ (captures/naming.py), so its literal is itself; a view takes no parameters.
    return sql.SQL("SELECT {} FROM {} WHERE experiment = {} AND NOT gone").format(
        columns, source, sql.Literal(experiment)
    )


def _is_ours(definition: str, experiment: str, table: Table) -> bool:
    """Say whether a view is one of ours, of whatever release: the shape of `_definition` and no other."""
    name = f'"({table.name}|{table.beside})"'
    stretch = rf"SELECT \* FROM {name}( WHERE ts [<>] '[-0-9T:.]+')?"
    source = rf"({name}|\({stretch}( UNION ALL {stretch})*\) TIMESTAMP\(ts\))"
    shape = (
        rf"""SELECT "\w+"(, "\w+")* FROM {source} WHERE experiment = '{experiment}' AND NOT gone"""
    )
    return re.fullmatch(shape, definition) is not None


def _source(definition: str) -> str:
    """Say what one of our views reads: a table, or several in turn."""
    return definition.partition(" FROM ")[2].rpartition(" WHERE experiment = ")[0]


def _columns(connection: Connection, table: Table) -> dict[str, tuple[str, bool]]:
    """List type, and whether it is one of the keys, of each column."""
    rows = connection.execute(
        sql.SQL('SELECT "column", type, upsertKey FROM (SHOW COLUMNS FROM {})').format(
            sql.Identifier(table.name)
        )
    ).fetchall()
    return {name: (kind.upper(), is_key) for name, kind, is_key in rows}


def _views(connection: Connection) -> dict[str, str]:
    """List the views by name; QuestDB's names know no case."""
    return {
        name.lower(): definition
        for name, definition in connection.execute(
            "SELECT view_name, view_sql FROM views()"
        ).fetchall()
    }


def _tables(connection: Connection) -> set[str]:
    return {
        name.lower()
        for (name,) in connection.execute(
            "SELECT table_name FROM tables() WHERE table_type <> 'V'"
        ).fetchall()
    }
