"""Dagster's storage in SQLite, with open connections to its databases. `dagster.yaml` names it.

Dagster's own class opens an engine and a connection for each transaction, of which an event takes
three to five and an idle daemon two a second, and each close of a database writes a checkpoint.
That takes more than half of the processor time of an event. It also looks up tables and columns
for each. Files and tables are the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    DynamicPartitionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine

_PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED

_MOST = 4
"""Databases of events that stay open: the index, and one for each of the last runs."""


class Storage(DagsterSqliteStorage):
    """Dagster's storage, once it has made or upgraded its files."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = Runs(self._run_storage._conn_string)
        self._schedule_storage = Schedules(self._schedule_storage._conn_string)
        self._event_log_storage = EventLog(str(Path(base_dir, "history", "runs")))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> "Storage":  # noqa: ANN401  as Dagster has it
        """Open the storage, for Dagster."""
        return cls.from_local(inst_data=inst_data, **config_value)


class _Open:
    """A database with open connections: one, and more while several threads use it."""

    _conn_string: str

    @cached_property
    def _engine(self) -> Engine:
        return create_engine(
            self._conn_string,
            pool_size=1,
            max_overflow=-1,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Begin a transaction."""
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the database."""
        self._engine.dispose()


class Runs(_Open, SqliteRunStorage):
    """Dagster's records of runs."""


class Schedules(_Open, SqliteScheduleStorage):
    """Dagster's records of ticks."""


class EventLog(SqliteEventLogStorage):
    """Dagster's event log, with open connections. One thread at a time uses them, as there."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Engine:
        """Return the engine of a database. Create the database if its file does not exist."""
        engine, exists = self._engines.pop(shard, None), Path(self.path_for_shard(shard)).exists()
        if engine is None or not exists:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            if not exists or shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
        self._engines[shard] = engine  # the last used comes last
        if len(self._engines) > _MOST:
            self._engines.pop(next(iter(self._engines))).dispose()
        return engine

    def has_table(self, table_name: str) -> bool:
        """Return whether a table exists. Dagster asks for each event, so it is looked up once."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def _has_asset_key_index_cols_on_connection(self, _: Connection) -> bool:
        return True  # `_initdb` makes them, and Dagster would ask for each event

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of a run; those that say which captures it will make in one transaction."""
        planned = [event for event in events if event.dagster_event_type is _PLANNED]
        rows = [self._event_to_row(event) for event in planned]
        if rows:
            with self.run_connection(planned[0].run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
            with self.index_transaction() as connection:
                connection.execute(SqlEventLogStorageTable.insert(), rows)
                last = {event.get_dagster_event().asset_key: event for event in planned}
                for event in last.values():
                    self._store_asset_event(connection, event, 0)  # they need no number
        for event in events:
            if event.dagster_event_type is not _PLANNED:
                self.store_event(event)

    def add_dynamic_partitions(
        self, partitions_def_name: str, partition_keys: Sequence[str]
    ) -> None:
        """Add those that are not there. Two processes may add the same ones at one time."""
        rows = [
            {"partitions_def_name": partitions_def_name, "partition": key} for key in partition_keys
        ]
        if rows:
            with self.index_connection() as connection:
                connection.execute(DynamicPartitionsTable.insert().prefix_with("OR IGNORE"), rows)

    def dispose(self) -> None:
        """Close all databases."""
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()
