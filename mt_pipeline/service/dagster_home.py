"""Dagster's home in the data folder: its folders and settings, and its instance for a terminal.

It only makes folders and files; what is installed is `setup.py`.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from mt_pipeline.captures import inbox
from mt_pipeline.pipeline.options import Options
from mt_pipeline.service.unusable_home import of_settings
from mt_pipeline.settings import PROJECT
from mt_pipeline.system import private
from mt_pipeline.system.atomic import whole
from mt_pipeline.system.passwords import password_in
from mt_pipeline.system.processes import cores

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
"""Loggers of a run whose terminal prints lines of its own; the log of the run has everything."""

# Not in `dagster.yaml` itself: `dagster dev` reads that in the project's folder, where there is no
# DAGSTER_HOME.
_STORAGE = """storage: # as by default, but connections stay open: an event takes half the time
  custom:
    module: mt_pipeline.defs.storage
    class: Storage
    config: {base_dir: {env: DAGSTER_HOME}}
"""

_CLUSTER = """storage: # in the Postgres of MT_STATE_URL
  custom: {module: mt_pipeline.defs.postgres, class: StateStorage}
run_launcher: {module: mt_pipeline.defs.launcher, class: Launcher}
run_coordinator: # as many runs as the workers have slots
  module: mt_pipeline.defs.run_queue
  class: RunQueue
  config: {dequeue_interval_seconds: 1, dequeue_use_threads: true}
run_monitoring: {enabled: true, start_timeout_seconds: 86400, poll_interval_seconds: 15}
"""

# What a run prints goes to its terminal. Dagster would write it to a file and show that by `tail`,
# a second later and with all progress bars.
_NOT_CAPTURED = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def prepare(options: Options) -> Path:
    """Make the data folders, the passwords of QuestDB, and Dagster's settings.

    A `dagster.yaml` that exists stays as it is.

    Returns:
        DAGSTER_HOME.
    """
    # The environment counts even if the user deletes the setting from the file.
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    # A run of 50 captures notes beforehand that it is going to make 200 things.
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "1000"
    home = options.dagster_home
    private.folder(options.data_dir)
    inbox.prepare(options.inbox_dir)
    home.mkdir(parents=True, exist_ok=True)
    if options.embeds_questdb and not options.questdb_password:
        password_in(options.questdb_password_file)
    if options.embeds_questdb and not options.questdb_reader_password:
        password_in(options.questdb_reader_password_file)
    if not (home / "dagster.yaml").exists():
        with whole(home / "dagster.yaml") as partial:
            partial.write_text(_of_cluster() if options.broker_url else _of_one_machine())
    return home


@contextmanager
def opened(options: Options) -> Iterator[dg.DagsterInstance]:
    """Yield the Dagster instance of the service, in a home that is made if needed.

    What a terminal does with it shows in the UI.

    Raises:
        HomeError: its settings cannot be read.
    """
    home = str(prepare(options))
    os.environ |= {"DAGSTER_HOME": home, **private.temporary(options.temporary)}
    try:
        # `local_temp` with a folder is not temporary, whatever its name says.
        opened = dg.DagsterInstance.local_temp(home, overrides=_NOT_CAPTURED)
    except (sa.exc.DBAPIError, OSError):
        raise
    except Exception as error:  # also a TypeError, if a value is of another kind
        raise of_settings(Path(home), error) from None
    with opened as instance:
        yield instance


def _of_one_machine() -> str:
    """Return the project's settings, with our storage and a run per core."""
    text = re.sub(
        r"max_concurrent_runs: \d+\b[^}]*}.*",
        f"max_concurrent_runs: {cores()}}} # as many as there are cores",
        (PROJECT / "dagster.yaml").read_text(),
    )
    return text + _STORAGE


def _of_cluster() -> str:
    """Return the project's settings, with runs on the workers that are there."""
    text = (PROJECT / "dagster.yaml").read_text()
    for name in ("concurrency", "run_queue", "run_monitoring"):
        text = re.sub(rf"^{name}:.*\n( .*\n)*", "", text, flags=re.MULTILINE)
    return text + _CLUSTER
