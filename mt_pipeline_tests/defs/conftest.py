"""Fixtures that tests of several modules of this room share."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from mt_pipeline_tests.pipelines import Lab


@pytest.fixture
def started(lab: Lab) -> Iterator[Callable[..., str]]:
    """Give a function that makes a run that is going on; it is deleted afterwards."""
    made: list[str] = []

    def make(**tags: str) -> str:
        run = lab.instance.add_run(dg.DagsterRun(job_name="ingest_captures", tags=tags))
        start = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "ingest_captures")
        lab.instance.run_storage.handle_run_event(run.run_id, start, datetime.now(UTC))
        made.append(run.run_id)
        return run.run_id

    yield make
    for run_id in made:
        lab.instance.delete_run(run_id)
