"""What Dagster loads: `defs`, made by `build_defs` from the settings."""

import dagster as dg

from mt_pipeline import settings
from mt_pipeline.defs.assets import ingest
from mt_pipeline.defs.checks import verified
from mt_pipeline.defs.jobs import ingest_captures
from mt_pipeline.defs.refresh import pending_answers, refresh_answers, refresh_daily
from mt_pipeline.defs.reports import experiment_report, quiet_experiments, report_experiments
from mt_pipeline.defs.retention import expire_daily, expire_old
from mt_pipeline.defs.sensors import new_captures
from mt_pipeline.pipeline.workspace import Workspace


def build_defs(*, workspace: Workspace | None = None) -> dg.Definitions:
    """Return the definitions; the terminal and the tests pass a workspace of their own.

    Raises:
        SettingsError: a setting cannot be used.
    """
    return dg.Definitions(
        assets=[ingest, experiment_report],
        asset_checks=[verified],
        jobs=[ingest_captures, refresh_answers, report_experiments, expire_old],
        schedules=[refresh_daily, expire_daily],
        sensors=[new_captures, pending_answers, quiet_experiments],
        resources={"workspace": workspace or Workspace(settings.load().options())},
        # The stages of a capture are a chain: a process for each would cost ten seconds.
        # Runs are what goes on in parallel.
        executor=dg.in_process_executor,
    )


defs = build_defs()
