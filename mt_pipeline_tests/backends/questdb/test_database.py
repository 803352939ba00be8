"""Connections to QuestDB: what they can read, and which error each failure raises."""

import os
import socket
import time
import traceback
from dataclasses import replace

import psycopg
import pytest

from mt_pipeline.backends.loads import BackendError, LoadFailed, NameTaken, Unreachable
from mt_pipeline.backends.questdb.database import Database

SECRET = "s3cret'pass word"


@pytest.fixture
def nobody() -> Database:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Database("127.0.0.1", port, port, "admin", SECRET)


def test_it_reads_ipv4_columns(database: Database):
    # Binary cursors cannot: `insufficient data in "D" message`.
    with database.connect() as connection:
        for _ in range(10):
            assert connection.execute("SELECT CAST('10.0.0.1' AS IPV4), 1").fetchall() == [
                ("10.0.0.1", 1)
            ]


def test_a_query_goes_on_when_a_view_changes_its_columns(database: Database):
    # psycopg prepares a query that it has seen five times, and QuestDB then fails with `cached plan
    # must not change result type`.
    with database.connect() as reader, database.connect() as writer:
        writer.execute(
            "CREATE TABLE of_database (x INT, y INT, ts TIMESTAMP) "
            "TIMESTAMP(ts) PARTITION BY DAY WAL"
        )
        writer.execute("CREATE VIEW view_of_database AS (SELECT x FROM of_database)")
        for _ in range(10):
            assert [
                column.name
                for column in reader.execute("SELECT * FROM view_of_database").description
            ] == ["x"]
        writer.execute("CREATE OR REPLACE VIEW view_of_database AS (SELECT y, x FROM of_database)")
        assert [
            column.name for column in reader.execute("SELECT * FROM view_of_database").description
        ] == ["y", "x"]
        writer.execute("DROP VIEW view_of_database")
        writer.execute("DROP TABLE of_database")


def test_a_connection_ends_with_its_block(database: Database):
    with database.connect() as connection:
        pass
    assert connection.closed


def test_nobody_there_is_told_at_once_with_where_and_what_to_do(nobody: Database):
    started = time.monotonic()
    with (
        pytest.raises(
            Unreachable, match=f"127.0.0.1:{nobody.pg_port} .*refused.*make run.*MT_QUESTDB_HOST"
        ),
        nobody.connect(),
    ):
        pass
    assert time.monotonic() - started < 2


def test_a_wrong_password_is_told_with_the_settings_to_correct(database: Database):
    cure = (
        "was started with another password, as by an earlier release: stop the service"
        if database.folder
        else "correct MT_QUESTDB_USER"
    )
    with pytest.raises(Unreachable, match=cure), replace(database, password=SECRET).connect():
        pass


def test_a_connection_that_breaks_inside_the_block_is_told(database: Database):
    def cut_off(connection: psycopg.Connection) -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    with (
        pytest.raises(Unreachable, match=f"127.0.0.1:{database.pg_port}"),
        database.connect() as connection,
    ):
        connection.execute(f"SELECT {cut_off(connection) or 1}")


def test_a_statement_that_questdb_refuses_is_not_called_unreachable(database: Database):
    with (
        pytest.raises(psycopg.DatabaseError, match="no_such_table"),
        database.connect() as connection,
    ):
        connection.execute("SELECT * FROM no_such_table")


def test_the_password_is_in_no_text(database: Database, nobody: Database):
    texts = [repr(nobody), str(nobody)]
    for wrong in (nobody, replace(database, password=SECRET)):
        with pytest.raises(Unreachable) as refused, wrong.connect():
            pass
        texts += traceback.format_exception(refused.value)
    assert SECRET not in "".join(texts)


def test_every_error_is_of_one_tree():
    for kind in (Unreachable, NameTaken, LoadFailed):
        assert issubclass(kind, BackendError)
