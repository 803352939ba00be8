"""Databases in memory that are used again, and leave nothing of the one before to the next."""

import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from mt_pipeline.system import duckdb_pool
from mt_pipeline_tests.pipelines import files_below


def with_answer(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("CREATE MACRO answer() AS 42")


def test_the_next_one_gets_the_functions_but_neither_tables_nor_what_was_registered(tmp_path: Path):
    for _ in range(2):
        with duckdb_pool.connection(tmp_path / "x" / "file", prepare=with_answer) as connection:
            assert connection.sql("SELECT answer()").fetchall() == [(42,)]
            connection.execute("CREATE TEMP TABLE own AS SELECT 1")
            connection.register("given", pa.table({"a": [1]}))
            assert connection.sql("FROM own, given").fetchall() == [(1, 1)]
        with duckdb_pool.connection(tmp_path / "x" / "file", prepare=with_answer) as connection:
            for name in ("own", "given"):
                with pytest.raises(duckdb.CatalogException):
                    connection.sql(f"FROM {name}")
    with (
        duckdb_pool.connection(tmp_path / "x" / "file") as connection,
        pytest.raises(duckdb.CatalogException),
    ):
        connection.sql("SELECT answer()")


def test_two_at_once_have_a_database_each(tmp_path: Path):
    with (
        duckdb_pool.connection(tmp_path / "a") as connection,
        duckdb_pool.connection(tmp_path / "b") as other,
    ):
        # Not a temporary table: all connections to a database would see it.
        connection.execute("CREATE TABLE mine AS SELECT 1")
        with pytest.raises(duckdb.CatalogException):
            other.sql("FROM mine")
        connection.execute("DROP TABLE mine")


def test_what_does_not_fit_into_memory_lies_beside_the_file_and_is_gone_afterwards(tmp_path: Path):
    for folder in ("first", "quote's", "third"):
        with duckdb_pool.connection(tmp_path / folder / "file") as connection:
            connection.execute(
                "CREATE TEMP TABLE large AS SELECT range AS number, md5(range::VARCHAR) AS text "
                "FROM range(12_000_000)"
            )
            assert files_below(tmp_path / folder)
            assert connection.sql("SELECT count(*) FROM large").fetchall() == [(12_000_000,)]
        assert files_below(tmp_path) == []


def test_a_folder_that_somebody_took_away_is_no_error(tmp_path: Path):
    """Regression: making expired documents again failed, because their folder was tidied up."""
    with duckdb_pool.connection(tmp_path / "gone" / "file") as connection:
        shutil.rmtree(tmp_path / "gone")
        assert connection.sql("SELECT 1").fetchall() == [(1,)]
    with duckdb_pool.connection(tmp_path / "gone" / "file") as connection:
        assert connection.sql("SELECT 1").fetchall() == [(1,)]


def test_after_an_error_the_next_one_begins_anew(tmp_path: Path):
    with (
        pytest.raises(duckdb.Error),
        duckdb_pool.connection(tmp_path / "x", prepare=with_answer) as connection,
    ):
        connection.execute("CREATE TABLE half_done AS SELECT 1; SELECT no_such_function()")
    with duckdb_pool.connection(tmp_path / "x", prepare=with_answer) as connection:
        connection.execute("CREATE TABLE half_done AS SELECT 1; DROP TABLE half_done")
