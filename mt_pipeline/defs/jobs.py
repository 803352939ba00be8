"""The jobs: what can be launched, and when one launches itself.

For the underlying concept, see https://docs.dagster.io/guides/build/jobs
"""

import dagster as dg

from mt_pipeline.defs.assets import SPECS
from mt_pipeline.defs.refresh import refresh_answers
from mt_pipeline.pipeline.verify import verified

ingest_captures = dg.define_asset_job(
    "ingest_captures",
    # `verified` is of all captures, and for when a person wants to know.
    selection=dg.AssetSelection.assets(*(spec.key for spec in SPECS)) - dg.AssetSelection.checks(verified),
    description="Take captures from the file to readable rows. Launch one, a choice, or those that failed.",
)

refresh_daily = dg.ScheduleDefinition(
    name="refresh_daily",
    job_name=refresh_answers.name,
    cron_schedule="0 4 * * *",
    description="Asks every night what has expired. Off until it is switched on, as a provider may cost money.",
)
