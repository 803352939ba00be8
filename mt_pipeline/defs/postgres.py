"""Dagster's storage in Postgres, with the password from a file. `dagster.docker.yaml` names it.

Dagster's own class takes the password from the configuration or the environment.
"""

from pathlib import Path
from typing import Any

from dagster import IntSource, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import get_conn_string


class Storage(DagsterPostgresStorage):
    """Dagster's storage, except that it reads the password from a file."""

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
