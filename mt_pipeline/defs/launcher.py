"""Hands runs to the workers of a cluster. Dagster's settings name it if there is a broker.

A run holds a lock while it is at work, so whoever can take that knows that its process is gone.
"""

from contextlib import AbstractContextManager

import dagster as dg
from dagster._config import UserConfigSchema
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher

from mt_pipeline import settings
from mt_pipeline.cluster import broker
from mt_pipeline.pipeline.options import Options
from mt_pipeline.state.advisory import BusyError, Hold, Locks
from mt_pipeline.state.postgres import StateError

HOST, WORKER = "mt_pipeline/host", "mt_pipeline/worker"
"""Tags of a run: where it runs."""


def at_work(options: Options, run_id: str) -> AbstractContextManager[Hold]:
    """Hold the lock of a run, as the process that runs it does.

    Raises:
        BusyError: another process runs it.
        StateError: Postgres does not answer.
    """
    assert options.state is not None  # noqa: S101  a cluster has it
    return Locks(options.state, "processes of runs").alone(run_id, timeout=0)


class Launcher(CeleryRunLauncher):  # type: ignore[misc]
    """Dagster's launcher for Celery, which names the run alone, can cancel, and knows the dead."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(default_queue=broker.QUEUE, inst_data=inst_data)
        self._options = settings.load().options()
        self.celery = broker.app(self._options)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return the schema of its configuration, for Dagster: it has none."""
        return {}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put a run into its queue."""
        run = context.dagster_run
        task = self.celery.signature(broker.RUN, args=[run.run_id], task_id=run.run_id)
        self._launch_celery_task_run(run, task, "run")

    def terminate(self, run_id: str) -> bool:
        """Have a run cancelled: its process looks at this mark."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    @property
    def supports_resume_run(self) -> bool:
        """Whether a run that died goes on: its captures are asked for again instead."""
        return False

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a run that has begun lives."""
        try:
            with at_work(self._options, run.run_id):
                return CheckRunHealthResult(WorkerStatus.FAILED, "the process of this run is gone")
        except BusyError:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        except StateError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "nobody knows: Postgres is away")

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Return where a run that failed was, for Dagster's message."""
        return f"It was on {run.tags[HOST]}" if HOST in run.tags else None
