"""Dagster's storage in Postgres, with open connections. `dagster.docker.yaml` names it.

In a cluster it is in the Postgres that has our state, too.

Dagster's own class opens a connection for each question, of which an event takes several, and takes
the password from the configuration or the environment. Tables and statements are the same.
"""

from pathlib import Path
from typing import Any

from dagster import IntSource, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import get_conn_string
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

from mt_pipeline import settings
from mt_pipeline.errors import SettingsError

_SCHEMA = "dagster"
"""Its tables, beside ours."""

_KEPT = 2
"""Connections that a process keeps: few, as each run is a process, and Postgres bears a hundred."""


class Storage(DagsterPostgresStorage):
    """Dagster's storage, with the password from a file, once it has made or upgraded its tables."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        engine = create_engine(
            postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=_KEPT,
            max_overflow=-1,
            pool_pre_ping=True,  # else the first question after a restart of Postgres fails
        )
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = engine

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return the schema of its configuration, for Dagster."""
        return {"port": IntSource} | {
            name: StringSource
            for name in ("scheme", "hostname", "username", "password_file", "db_name")
        }

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ANN401
    ) -> "Storage":  # noqa: ANN401, RUF100
        """Open the storage, for Dagster."""
        config = dict(config_value)
        password = Path(config.pop("password_file")).read_text(encoding="utf-8").strip()
        return cls(get_conn_string(password=password, **config), inst_data=inst_data)


class StateStorage(Storage):
    """Dagster's storage in the Postgres of `MT_STATE_URL`."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return the schema of its configuration, for Dagster: the settings have all."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ANN401
    ) -> "StateStorage":  # noqa: ANN401, RUF100
        """Open the storage, for Dagster.

        Raises:
            SettingsError: no setting has the address.
        """
        state = settings.load().options().state
        if state is None:
            raise SettingsError("MT_STATE_URL is not set, and Dagster's storage is there")
        address = make_url(state.url).set(drivername="postgresql+psycopg2", password=state.password)
        more = {name: str(value) for name, value in state.libpq(schema=_SCHEMA).items()}
        url = address.update_query_dict(more).render_as_string(hide_password=False)
        _ensure_schema(url)
        return cls(url, inst_data=inst_data)


def _ensure_schema(url: str) -> None:
    engine = create_engine(url)
    try:
        with engine.begin() as db:
            if not inspect(db).has_schema(_SCHEMA):
                db.execute(CreateSchema(_SCHEMA))
    except IntegrityError:  # another process has just made it
        pass
    finally:
        engine.dispose()
