"""The Dagster of the data folder, as a terminal opens it: what it does there shows in the UI."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mt_pipeline.pipeline.options import Options
from mt_pipeline.service import setup
from mt_pipeline.system import private

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
"""Loggers of a run whose terminal shows our lines; the log of the run has all."""


_NOT_CAPTURED = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""What a run prints stays on its terminal: Dagster would send it through a file, of which `tail` shows it a second later, bars and all."""


@contextmanager
def opened(options: Options) -> Iterator[dg.DagsterInstance]:
    """Open the instance of the service, set up if it is not there."""
    home = str(setup.prepare(options))
    os.environ |= {"DAGSTER_HOME": home, **private.temporary(options.data_dir)}
    # Of a folder that is given, it is no temporary one, whatever its name says.
    with dg.DagsterInstance.local_temp(home, overrides=_NOT_CAPTURED) as instance:
        yield instance
