"""How a machine joins a cluster: the head writes its settings into the data folder, a worker reads.

Secrets are not among them: the file has the names of those that a worker must be given.
"""

import json
import os
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from mt_pipeline.errors import SettingsError
from mt_pipeline.settings import PREFIX, PROJECT, Settings, load
from mt_pipeline.system.atomic import whole

FILE = "cluster.json"
"""In the data folder."""

_OWN = {
    *("data_dir", "slots", "scratch_dir", "tshark", "tshark_memory_mb", "questdb_import_dir"),
    *("dagster_port", "explorer_port", "explorer_memory_mb", "ui_token", "ui_hosts"),
}
"""Settings of one machine, which others do not take over."""


def write(settings: Settings) -> None:
    """Write what a worker needs to know, for `joined`."""
    given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set - _OWN)}
    secrets = [name for name, value in given.items() if isinstance(value, SecretStr)]
    content = {
        "data_dir": str(settings.data_dir),
        "settings": {
            _variable(name): _text(value)
            for name, value in given.items()
            if name not in secrets and value is not None
        },
        "secrets": [_variable(name) for name in secrets],
    }
    with whole(settings.data_dir / FILE) as partial:
        partial.write_text(json.dumps(content, indent=2))


def joined(folder: Path) -> Settings:
    """Return the settings of a worker: those of the head, where this machine has none of its own.

    The environment has them from then on, for the processes that the worker starts.

    Args:
        folder: the data folder of the head.

    Raises:
        SettingsError: the folder is not that of a head, or a secret is missing.
    """
    folder = folder.absolute()
    try:
        content = json.loads((folder / FILE).read_text())
    except OSError as error:
        raise SettingsError(
            f"{folder / FILE} cannot be read ({error.strerror}): name the data folder of the head, "
            "and start `mt-pipeline run` there first, with MT_BROKER_URL"
        ) from None
    if content["data_dir"] != str(folder):
        raise SettingsError(
            f"the head has this data folder as {content['data_dir']}: "
            "mount it here under the same path, too"
        )
    here = {**dotenv_values(PROJECT / ".env"), **os.environ}
    given = {**content["settings"], _variable("data_dir"): str(folder)}
    os.environ.update({name: value for name, value in given.items() if not here.get(name)})
    settings = load()
    known = {_variable(name) for name in settings.model_fields_set}
    if missing := [name for name in content["secrets"] if name not in known]:
        raise SettingsError(
            f"the head has {' and '.join(missing)}, and this machine has not: set the same here, "
            "or name a folder of secrets by MT_SECRETS_DIR"
        )
    return settings


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
