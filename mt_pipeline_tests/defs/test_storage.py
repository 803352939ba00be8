"""The event log of our Dagster instances: Dagster's own, with connections that stay open."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import event

from mt_pipeline.defs import storage
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings
from mt_pipeline_tests.pipelines import Lab

ASSET = dg.AssetKey("tshark_json")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "set by the instance, taken back after the test")
    with dagster_home.opened(Settings(_env_file=None, data_dir=tmp_path).options()) as found:
        yield found


TAGS = {"dagster/data_version": "1"}


def reported(
    found: dg.DagsterInstance, *partitions: str, tags: Mapping[str, str] | None = None
) -> None:
    for partition in partitions:
        found.report_runless_asset_event(
            dg.AssetMaterialization(ASSET, partition=partition, tags=tags)
        )


def planned(found: dg.DagsterInstance, run: str, *partitions: str) -> None:
    """Note, as the start of a run does, what it is going to make."""
    batch = generate_event_batch_id()
    for number, partition in enumerate(partitions, 1):
        data = AssetMaterializationPlannedData(ASSET, partition=partition)
        found.report_dagster_event(
            DagsterEvent.build_asset_materialization_planned_event("idle", "nothing", data),
            run,
            batch_metadata=DagsterEventBatchMetadata(batch, number == len(partitions)),
        )


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def idle() -> None:
    """Do it."""
    nothing()


def test_the_instance_of_a_data_folder_has_it(lab: Lab):
    assert type(lab.instance.event_log_storage) is storage.EventLog


def test_one_connection_serves_all_questions_of_an_idle_daemon(opened: dg.DagsterInstance):
    """Dagster's own opened the file for each, and the close of each wrote a checkpoint."""
    databases = (opened.run_storage, opened.schedule_storage)
    connected: list[str] = []
    for database in databases:
        assert isinstance(database, storage.Runs | storage.Schedules)
        name = type(database).__name__
        event.listen(database._engine, "connect", lambda *_, name=name: connected.append(name))

    for _ in range(3):
        assert opened.get_runs() == []
        assert opened.all_instigator_state() == []

    assert sorted(connected) == ["Runs", "Schedules"]


def test_what_a_run_is_going_to_make_takes_a_transaction_of_each_database(
    opened: dg.DagsterInstance,
):
    """Each capture took eight transactions: a run of fifty began after seconds."""
    run = opened.create_run_for_job(idle)
    planned(opened, run.run_id, "the first")
    log = opened.event_log_storage
    assert isinstance(log, storage.EventLog)
    used: list[str] = []
    for shard, engine in log._engines.items():
        event.listen(engine, "begin", lambda *_, shard=shard: used.append(shard))

    planned(opened, run.run_id, "a", "b", "c")

    assert sorted(used) == sorted([run.run_id, "index"])
    records = opened.get_records_for_run(run.run_id).records
    partitions = [record.event_log_entry.get_dagster_event().partition for record in records]
    assert partitions == ["the first", "a", "b", "c"]
    attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations
    assert {name: id_ for name, (id_, _) in attempts(ASSET).items()} == dict.fromkeys(
        partitions, run.run_id
    )


def test_tables_are_looked_up_once(opened: dg.DagsterInstance):
    """An event opened a connection of its own to ask whether there are tags."""
    reported(opened, "the first", tags=TAGS)
    looked_up: list[str] = []
    log = opened.event_log_storage
    assert isinstance(log, storage.EventLog)
    for engine in log._engines.values():
        event.listen(
            engine, "before_cursor_execute", lambda _c, _u, text, *_: looked_up.append(text)
        )

    reported(opened, "a", tags=TAGS)

    assert any("asset_event_tags" in text for text in looked_up)
    assert not [text for text in looked_up if "PRAGMA" in text]


def test_a_partition_that_another_process_adds_at_that_moment_is_there_once(
    opened: dg.DagsterInstance,
):
    log = opened.event_log_storage
    assert isinstance(log, storage.EventLog)
    another, added = storage.EventLog(log._base_dir), list[str]()

    def add(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT") and not added:
            added.append(statement)
            another.add_dynamic_partitions("captures", ["a", "b"])

    with log.index_connection() as connection:
        event.listen(connection.engine, "before_cursor_execute", add)
    log.add_dynamic_partitions("captures", ["b", "c"])
    another.dispose()

    assert added
    assert sorted(log.get_dynamic_partitions("captures")) == ["a", "b", "c"]


def test_one_connection_serves_all_events(opened: dg.DagsterInstance):
    reported(opened, "the first")
    log = opened.event_log_storage
    assert isinstance(log, storage.EventLog)
    engines = dict(log._engines)
    used: list[str] = []
    connected: list[str] = []
    for shard, engine in engines.items():
        event.listen(engine, "checkout", lambda *_, shard=shard: used.append(shard))
        event.listen(engine, "connect", lambda *_, shard=shard: connected.append(shard))

    reported(opened, "a", "b")

    assert opened.get_materialized_partitions(ASSET) == {"the first", "a", "b"}
    assert "index" in used
    assert not connected
    assert log._engines == engines


def test_dagsters_own_storage_reads_what_it_wrote_and_the_other_way_round(
    opened: dg.DagsterInstance, tmp_path: Path
):
    reported(opened, "ours")
    theirs = SqliteEventLogStorage(str(tmp_path / "dagster" / "history" / "runs"))
    assert theirs.get_materialized_partitions(ASSET) == {"ours"}

    theirs.wipe_asset(ASSET)

    assert opened.get_materialized_partitions(ASSET) == set()


def test_few_runs_are_kept_open_and_all_can_be_read(opened: dg.DagsterInstance):
    done = [idle.execute_in_process(instance=opened).run_id for _ in range(storage._MOST + 2)]

    log = opened.event_log_storage
    assert isinstance(log, storage.EventLog)
    assert len(log._engines) == storage._MOST
    assert all(opened.all_logs(run, of_type=dg.DagsterEventType.RUN_SUCCESS) for run in done)
    assert len(log._engines) == storage._MOST


def test_a_run_whose_file_is_gone_is_written_anew(opened: dg.DagsterInstance, tmp_path: Path):
    run = idle.execute_in_process(instance=opened).run_id
    for path in (tmp_path / "dagster" / "history" / "runs").glob(f"{run}.db*"):
        path.unlink()

    assert list(opened.all_logs(run)) == []
    opened.report_engine_event("again", opened.get_run_by_id(run))

    assert len(list(opened.all_logs(run))) == 1
