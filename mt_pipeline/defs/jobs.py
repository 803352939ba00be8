"""The job `ingest_captures`. The other jobs are beside their sensors and schedules.

For the underlying concept, see https://docs.dagster.io/guides/build/jobs
"""

import dagster as dg

from mt_pipeline.defs.assets import SPECS
from mt_pipeline.defs.checks import verified

ingest_captures = dg.define_asset_job(
    "ingest_captures",
    # `verified` checks all captures, and runs only when a person launches it.
    selection=dg.AssetSelection.assets(*(spec.key for spec in SPECS))
    - dg.AssetSelection.checks(verified),
    description="Take captures from the file to readable rows. "
    "Launch one, a choice, or those that failed.",
)
