"""The table and the views: made, upgraded, left alone when they are somebody else's."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from mt_pipeline.backends.loads import NameTaken
from mt_pipeline.backends.questdb.ddl import TABLE, ensure_table
from mt_pipeline.backends.questdb.views import drop_view, ensure_view
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.schema.tables import CAPTURES, FLOWS, HIDDEN, PACKETS, Table
from mt_pipeline_tests.backends.questdb.parts import Threads
from mt_pipeline_tests.soaking.servers import Spare

NAMES = [column.name for column in COLUMNS]
LATER = ("protocol", "vlan_id", "dns_name", "experiment", "tls_sni_provider")
"""Columns that an older release lacked: one of each kind, and the one by which views select."""


@pytest.fixture
def connection(spare: Spare) -> Iterator[psycopg.Connection]:
    with spare.database.connect() as opened:
        yield opened


def columns(connection: psycopg.Connection, table: str) -> dict[str, str]:
    return {
        name: kind.upper()
        for name, kind in connection.execute(
            f'SELECT "column", type FROM (SHOW COLUMNS FROM "{table}")'
        ).fetchall()
    }


def shown(connection: psycopg.Connection, view: str) -> list[str]:
    """Name the columns that a reader of a view gets; SHOW COLUMNS says it a moment late."""
    return [column.name for column in connection.execute(f"SELECT * FROM {view}").description]


def only_row(connection: psycopg.Connection, query: str) -> tuple:
    [row] = connection.execute(query).fetchall()
    return row


def make_older_table(connection: psycopg.Connection, *, without: tuple[str, ...] = LATER) -> None:
    kinds = {column.name: column.type for column in COLUMNS if column.name not in without} | HIDDEN
    of_columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    connection.execute(
        f"CREATE TABLE {TABLE} ({of_columns}) TIMESTAMP(ts) PARTITION BY DAY WAL "
        "DEDUP UPSERT KEYS(ts, capture, frame_number)"
    )
    for number in (1, 2):
        connection.execute(
            f"INSERT INTO {TABLE} (ts, capture, frame_number, tls_sni, gone) "
            f"VALUES ({number}, 'old/a.pcap', {number}, 'old', false)"
        )
    connection.execute(f"SELECT wait_wal_table('{TABLE}')")


def test_the_table_is_made_from_the_column_table(connection: psycopg.Connection):
    ensure_table(connection)
    assert columns(connection, TABLE) == {column.name: column.type for column in COLUMNS} | HIDDEN
    assert list(columns(connection, TABLE)) == [*NAMES, *HIDDEN]
    assert only_row(
        connection, f'SELECT "column" FROM (SHOW COLUMNS FROM {TABLE}) WHERE designated'
    ) == ("ts",)
    assert only_row(
        connection, f'SELECT "column" FROM (SHOW COLUMNS FROM {TABLE}) WHERE indexed'
    ) == ("tls_sni",)
    keys = connection.execute(
        f'SELECT "column" FROM (SHOW COLUMNS FROM {TABLE}) WHERE upsertKey'
    ).fetchall()
    assert sorted(keys) == [("capture",), ("frame_number",), ("ts",)]
    assert only_row(
        connection, "SELECT table_name, partitionBy, walEnabled, dedup FROM tables()"
    ) == (
        TABLE,
        "MONTH",
        True,
        True,
    )


@pytest.mark.parametrize("table", [FLOWS, CAPTURES], ids=lambda table: table.name)
def test_the_other_tables_are_made_from_theirs(connection: psycopg.Connection, table: Table):
    for _ in range(2):
        ensure_table(connection, table)
        assert list(columns(connection, table.name).items()) == list(table.types.items())
        assert only_row(
            connection, f'SELECT "column" FROM (SHOW COLUMNS FROM {table.name}) WHERE designated'
        ) == ("ts",)
        keys = connection.execute(
            f'SELECT "column" FROM (SHOW COLUMNS FROM {table.name}) WHERE upsertKey'
        ).fetchall()
        assert sorted(keys) == sorted((key,) for key in table.keys)


@pytest.mark.parametrize("table", [FLOWS, CAPTURES], ids=lambda table: table.name)
def test_the_other_tables_of_an_older_release_get_the_columns_they_lack(
    connection: psycopg.Connection, table: Table
):
    ensure_table(
        connection,
        replace(
            table,
            columns={
                name: kind
                for name, kind in table.columns.items()
                if name not in ("experiment", "bytes")
            },
        ),
    )
    ensure_table(connection, table)
    assert columns(connection, table.name) == table.types


@pytest.mark.parametrize("table", [PACKETS, FLOWS], ids=lambda table: table.name)
def test_a_view_shows_the_column_table_and_nothing_hidden(
    connection: psycopg.Connection, table: Table
):
    ensure_table(connection, table)
    assert ensure_view(connection, "kitchen", table)
    assert shown(connection, table.view("kitchen")) == list(table.columns)


def test_a_table_whose_keys_were_taken_away_is_refused(connection: psycopg.Connection):
    """Without them a request that is sent again would double its rows."""
    ensure_table(connection)
    connection.execute(f"ALTER TABLE {TABLE} DEDUP DISABLE")
    connection.execute(f"SELECT wait_wal_table('{TABLE}')")
    is_refused(lambda: ensure_table(connection), naming=TABLE)


def test_twice_is_the_same(connection: psycopg.Connection):
    def state() -> list:
        return [
            columns(connection, TABLE),
            connection.execute("SELECT view_name, view_sql FROM views()").fetchall(),
        ]

    ensure_table(connection)
    assert ensure_view(connection, "kitchen")
    before = state()
    ensure_table(connection)
    assert ensure_view(connection, "kitchen")
    assert state() == before


def test_a_table_of_an_older_release_gets_the_columns_it_lacks_and_keeps_its_rows(
    connection: psycopg.Connection,
):
    make_older_table(connection)
    ensure_table(connection)
    assert columns(connection, TABLE) == {column.name: column.type for column in COLUMNS} | HIDDEN
    rows = connection.execute(
        f"SELECT ts::LONG, capture, frame_number, tls_sni, vlan_id FROM {TABLE}"
    ).fetchall()
    assert rows == [(1, "old/a.pcap", 1, "old", None), (2, "old/a.pcap", 2, "old", None)]


def test_a_view_of_an_older_release_gets_the_columns_it_lacks_and_keeps_its_rows(
    connection: psycopg.Connection,
):
    later = tuple(name for name in LATER if name != "experiment")
    make_older_table(connection, without=later)
    connection.execute(f"UPDATE {TABLE} SET experiment = 'kitchen'")
    connection.execute(f"SELECT wait_wal_table('{TABLE}')")
    present = ", ".join(f'"{name}"' for name in NAMES if name not in later)
    connection.execute(
        f'CREATE VIEW packets_kitchen AS (SELECT {present} FROM "{TABLE}" '
        "WHERE experiment = 'kitchen' AND NOT gone)"
    )
    ensure_table(connection)
    assert ensure_view(connection, "kitchen")
    assert shown(connection, "packets_kitchen") == NAMES
    assert connection.execute("SELECT frame_number, protocol FROM packets_kitchen").fetchall() == [
        (1, None),
        (2, None),
    ]


@pytest.mark.parametrize("older", [False, True], ids=["from nothing", "from an older release"])
def test_several_that_begin_at_once_do_not_disturb_each_other(spare: Spare, older: bool):
    def ensure(together: threading.Barrier) -> None:
        with spare.database.connect() as connection:
            together.wait()
            ensure_table(connection)
            assert ensure_view(connection, "shared")
            assert (
                connection.execute(
                    "SELECT protocol, tls_sni_provider FROM packets_shared"
                ).fetchall()
                == []
            )

    for _ in range(2):
        if older:
            with spare.database.connect() as connection:
                make_older_table(connection)
        together = threading.Barrier(3)
        with Threads() as threads:
            for _ in range(3):
                threads.start(ensure, together)
        with spare.database.connect() as connection:
            assert (
                columns(connection, TABLE)
                == {column.name: column.type for column in COLUMNS} | HIDDEN
            )
            connection.execute("DROP VIEW packets_shared")
            connection.execute(f"DROP TABLE {TABLE}")


def is_refused(ensure: Callable[[], object], *, naming: str) -> None:
    with pytest.raises(
        NameTaken,
        match=rf"QuestDB has a (table |view )?{naming}\b.*(rename|drop|RENAME|DROP).*launch again",
    ):
        ensure()


@pytest.mark.parametrize(
    "of_columns",
    [
        "x INT",
        "x INT, load LONG, gone BOOLEAN",
        "capture SYMBOL, frame_number LONG, load LONG, gone BOOLEAN",
    ],
)
def test_a_users_own_table_of_our_name_is_refused_and_left_alone(
    connection: psycopg.Connection, of_columns: str
):
    connection.execute(
        f"CREATE TABLE {TABLE} (ts TIMESTAMP, {of_columns}) TIMESTAMP(ts) PARTITION BY DAY WAL"
    )
    before = columns(connection, TABLE)
    is_refused(lambda: ensure_table(connection), naming=TABLE)
    assert columns(connection, TABLE) == before


def test_a_users_own_view_of_our_tables_name_is_refused_and_left_alone(
    connection: psycopg.Connection,
):
    # QuestDB's own message was once passed on: `view or materialized view with the requested name
    # already exists`.
    connection.execute("CREATE TABLE mine (x INT, ts TIMESTAMP)")
    connection.execute(f"CREATE VIEW {TABLE} AS (SELECT x FROM mine)")
    is_refused(lambda: ensure_table(connection), naming=TABLE)
    assert shown(connection, TABLE) == ["x"]


# Names in QuestDB know no case: `Packets_kitchen` is in the way as well.
@pytest.mark.parametrize("name", ["packets_kitchen", "Packets_Kitchen"])
def test_a_users_own_table_of_a_views_name_is_refused_and_left_alone(
    connection: psycopg.Connection, name: str
):
    ensure_table(connection)
    connection.execute(f"CREATE TABLE {name} AS (SELECT 42 x)")
    is_refused(lambda: ensure_view(connection, "kitchen"), naming=f"(?i:{name})")
    assert only_row(connection, f"SELECT * FROM {name}") == (42,)


@pytest.mark.parametrize("name", ["packets_kitchen", "Packets_Kitchen"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT x FROM mine",
        f"SELECT x FROM {TABLE}_of_mine",
        f"SELECT capture, count() AS x FROM {TABLE}",
        f"SELECT frame_number AS x FROM {TABLE} WHERE experiment = 'kitchen' AND NOT gone",
    ],
)
def test_a_users_own_view_is_refused_and_left_alone(
    connection: psycopg.Connection, name: str, query: str
):
    ensure_table(connection)
    for table in ("mine", f"{TABLE}_of_mine"):
        connection.execute(f"CREATE TABLE {table} (x INT, ts TIMESTAMP)")
    connection.execute(f"CREATE VIEW {name} AS ({query})")
    is_refused(lambda: ensure_view(connection, "kitchen"), naming=f"(?i:{name})")
    drop_view(connection, "kitchen")
    assert only_row(connection, "SELECT view_name, view_sql FROM views()") == (name, query)


def test_beyond_the_most_views_there_are_no_new_ones_and_the_old_ones_are_kept_up_to_date(
    connection: psycopg.Connection,
):
    ensure_table(connection)
    connection.execute("CREATE TABLE mine (x INT, ts TIMESTAMP)")
    connection.execute("CREATE VIEW of_mine AS (SELECT x FROM mine)")  # does not count
    assert [ensure_view(connection, name, max_views=2) for name in ("a", "b", "c")] == [
        True,
        True,
        False,
    ]
    assert sorted(connection.execute("SELECT view_name FROM views()").fetchall()) == [
        ("of_mine",),
        ("packets_a",),
        ("packets_b",),
    ]
    connection.execute(
        f'CREATE OR REPLACE VIEW packets_a AS (SELECT "ts" FROM "{TABLE}" '
        "WHERE experiment = 'a' AND NOT gone)"
    )
    assert ensure_view(connection, "a", max_views=2)
    assert shown(connection, "packets_a") == NAMES
    drop_view(connection, "b")
    assert ensure_view(connection, "c", max_views=2)


def test_a_view_shows_its_experiment_only(connection: psycopg.Connection):
    # An underscore is a wildcard of LIKE; here it must be none.
    ensure_table(connection)
    for number, experiment in enumerate(("a_b", "axb", "a_b_c"), start=1):
        values = f"{number}, 'x', {number}, '{experiment}', false"
        connection.execute(
            f"INSERT INTO {TABLE} (ts, capture, frame_number, experiment, gone) VALUES ({values})"
        )
        assert ensure_view(connection, experiment)
    connection.execute(f"SELECT wait_wal_table('{TABLE}')")
    assert [
        only_row(connection, f"SELECT frame_number FROM packets_{experiment}")
        for experiment in ("a_b", "axb", "a_b_c")
    ] == [(1,), (2,), (3,)]


def test_views_of_packets_and_of_flows_share_the_memory_and_go_one_by_one(
    connection: psycopg.Connection,
):
    for table in (PACKETS, FLOWS):
        ensure_table(connection, table)
    assert [
        ensure_view(connection, name, table, max_views=3)
        for name in ("a", "b")
        for table in (PACKETS, FLOWS)
    ] == [True, True, True, False]
    drop_view(connection, "a", FLOWS)
    assert sorted(connection.execute("SELECT view_name FROM views()").fetchall()) == [
        ("packets_a",),
        ("packets_b",),
    ]


def test_a_view_is_dropped_with_its_experiment(connection: psycopg.Connection):
    ensure_table(connection)
    for experiment in ("a", "b"):
        assert ensure_view(connection, experiment)
    drop_view(connection, "a")
    drop_view(connection, "a")  # again does nothing
    assert connection.execute("SELECT view_name FROM views()").fetchall() == [("packets_b",)]
