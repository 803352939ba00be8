"""Dagster's state in Postgres: connections stay open, and an event takes few statements."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster_postgres.storage import DagsterPostgresStorage
from sqlalchemy import Engine, event

from mt_pipeline.defs import postgres
from mt_pipeline_tests.postgres import PASSWORD, Server

ASSET = dg.AssetKey("tshark_json")
EVENTS = 20
MOST_STATEMENTS = 4
"""Of an event, those that look whether a connection still lives left out."""


@pytest.fixture
def instance(postgres_server: Server, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Open an instance as compose.yml does, in a database of its own."""
    postgres_server.sql("CREATE DATABASE dagster")
    (tmp_path / "password").write_text(PASSWORD)
    config = {
        "scheme": "postgresql+psycopg2",
        "hostname": "127.0.0.1",
        "port": postgres_server.port,
        "username": "lab",
        "password_file": str(tmp_path / "password"),
        "db_name": "dagster",
    }
    custom = {"module": "mt_pipeline.defs.postgres", "class": "Storage", "config": config}
    settings = {"telemetry": {"enabled": False}, "storage": {"custom": custom}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened
        engine_of(opened).dispose()
    postgres_server.sql("DROP DATABASE dagster WITH (FORCE)")


def engine_of(instance: dg.DagsterInstance) -> Engine:
    engine: Engine = instance.run_storage._engine
    return engine


def reported(instance: dg.DagsterInstance, *partitions: str) -> None:
    for partition in partitions:
        instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition=partition))


def test_events_share_a_connection_and_take_few_statements(instance: dg.DagsterInstance):
    reported(instance, "the first")
    connected: list[object] = []
    statements: list[str] = []
    event.listen(engine_of(instance), "connect", lambda *_: connected.append(_))
    event.listen(
        engine_of(instance),
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: statements.append(statement),
    )

    reported(instance, *map(str, range(EVENTS)))
    instance.get_runs()
    instance.all_instigator_state()

    assert connected == []
    assert 0 < len(statements) <= MOST_STATEMENTS * EVENTS
    assert len(instance.get_materialized_partitions(ASSET)) == EVENTS + 1


def test_a_restart_of_postgres_costs_no_event(
    instance: dg.DagsterInstance, postgres_server: Server
):
    reported(instance, "before")
    postgres_server.kill()
    postgres_server.start()
    reported(instance, "after")
    assert instance.get_materialized_partitions(ASSET) == {"before", "after"}


def test_dagsters_own_storage_reads_what_it_wrote(instance: dg.DagsterInstance):
    reported(instance, "ours")
    storage = instance._ref.storage if instance._ref else None
    assert isinstance(storage, postgres.Storage)
    theirs = DagsterPostgresStorage(storage.postgres_url)
    assert theirs.event_log_storage.get_materialized_partitions(ASSET) == {"ours"}
