"""Dagster's queue of runs in a cluster: as many begin as the workers that are there have slots."""

from typing import Any

from dagster._core.run_coordinator.queued_run_coordinator import (
    QueuedRunCoordinator,
    RunQueueConfig,
)

from mt_pipeline import settings
from mt_pipeline.cluster import broker
from mt_pipeline.defs import cluster
from mt_pipeline.state.postgres import StateError


class RunQueue(QueuedRunCoordinator):
    """Dagster's queue; who asks how many runs may begin learns what holds just then."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401  they are Dagster's
        super().__init__(**arguments)
        self._options = settings.load().options()
        self._celery = broker.app(self._options)

    def get_run_queue_config(self) -> RunQueueConfig:
        """Return its settings, for Dagster."""
        config: RunQueueConfig = super().get_run_queue_config()
        return config._replace(max_concurrent_runs=self._slots())

    def _slots(self) -> int:
        """Count the slots; without broker or Postgres none is left."""
        try:
            workers = cluster.workers(self._options)
        except StateError:
            return 0
        return 0 if broker.answers(self._celery) else sum(worker.slots for worker in workers)
