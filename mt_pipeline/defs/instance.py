"""The Dagster of the data folder, as a terminal opens it: what it does there shows in the UI."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mt_pipeline import private, setup
from mt_pipeline.settings import Settings

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
"""Loggers of a run whose terminal shows our lines; the log of the run has all."""


@contextmanager
def opened(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance of the service, set up if it is not there."""
    os.environ |= {"DAGSTER_HOME": str(setup.prepare(settings)), **private.temporary(settings.data_dir)}
    with dg.DagsterInstance.get() as instance:
        yield instance
