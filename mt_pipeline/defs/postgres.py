"""Dagster's storage in Postgres, with its password in a file; `dagster.docker.yaml` names it. Dagster's own takes it from the environment alone."""

from pathlib import Path
from typing import Any

from dagster import IntSource, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import get_conn_string


class Storage(DagsterPostgresStorage):
    """Dagster's, but for where the password is."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Say what it is told, for Dagster."""
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
        """Open it, for Dagster."""
        told = dict(config_value)
        password = Path(told.pop("password_file")).read_text(encoding="utf-8").strip()
        return cls(get_conn_string(password=password, **told), inst_data=inst_data)
