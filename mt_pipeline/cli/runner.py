"""Runs of the ingest job in this process; `workers.py` has them in several."""

import uuid
from collections.abc import Sequence

import dagster as dg

from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.recovery import TERMINAL
from mt_pipeline.defs.runs import tags_of
from mt_pipeline.pipeline.progress import ENDED
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service.dagster_home import QUIET


class Runner:
    """Run the job in this process.

    Args:
        workspace: the data folder; its progress is called when a capture has ended.
        instance: that of the service, so that the UI shows runs of a terminal, too.
        display_filter: of all runs; None for the setting's.
    """

    def __init__(
        self, workspace: Workspace, instance: dg.DagsterInstance, *, display_filter: str | None
    ) -> None:
        self._workspace, self._instance = workspace, instance
        self._job = build_defs(workspace=workspace).resolve_job_def("ingest_captures")
        config = {} if display_filter is None else {"filter": display_filter}
        self._config = {"loggers": QUIET, "ops": {"ingest": {"config": config}}}

    def run(self, keys: Sequence[str]) -> bool:
        """Run the job for captures that are neighbours among the partitions.

        Returns:
            Whether the run ended, even with failed captures; False if Ctrl-C interrupted it.
        """
        run_id = str(uuid.uuid4())
        with self._workspace.ledger.lock(run_id):
            result = self._job.execute_in_process(
                instance=self._instance,
                run_id=run_id,
                partition_key=keys[0] if len(keys) == 1 else None,
                tags={**tags_of(keys), TERMINAL: "yes"},
                raise_on_error=False,
                run_config=self._config,
            )
        if interrupted(result):
            return False
        for key in keys:  # a run that failed before its captures reports none of them
            self._workspace.progress(key, ENDED, 0)
        return True


def interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Return whether Ctrl-C ended the run.

    Dagster ends that run alone, but the next one must not begin.
    """
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(
        error.cls_name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
        for error in errors
        if error
    )
