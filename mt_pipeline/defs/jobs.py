"""The jobs: what can be launched.

For the underlying concept, see https://docs.dagster.io/guides/build/jobs
"""

import dagster as dg

from mt_pipeline.defs.assets import SPECS

ingest_captures = dg.define_asset_job(
    "ingest_captures",
    selection=dg.AssetSelection.assets(*(spec.key for spec in SPECS)),
    description="Take captures from the file to readable rows. Launch one, a choice, or those that failed.",
)
