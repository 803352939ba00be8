"""What Dagster is told of a capture: a materialisation per stage, with its versions. What was checked tells `checked.py`.

For the underlying concept, see https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching
"""

import dagster as dg

from mt_pipeline.defs.metadata import Metadata
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.versions import CODE_VERSIONS, UPSTREAM, version

Context = dg.AssetExecutionContext | dg.OpExecutionContext


def report(context: Context, files: CaptureFiles, inputs: str, asset: str, described: Metadata) -> None:
    """Log that a stage of a capture is done.

    Args:
        context: of the run.
        files: of the capture.
        inputs: hash of all that made its documents.
        asset: the stage.
        described: what people want to know.
    """
    # An event that is logged carries no versions by itself; with its own and those of what it was made of, the UI tells what is stale.
    tags = {"dagster/code_version": CODE_VERSIONS[asset], "dagster/data_version": _data_version(files, inputs, asset)}
    for upstream in UPSTREAM[asset]:
        tags[f"dagster/input_data_version/{upstream}"] = _data_version(files, inputs, upstream)
        tags[f"dagster/input_event_pointer/{upstream}"] = _last_event(context, files.key, upstream)
    context.log_event(dg.AssetMaterialization(asset, partition=files.key, metadata=described, tags=tags))


def _last_event(context: Context, key: str, asset: str) -> str:
    which = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
    records = context.instance.fetch_materializations(which, limit=1).records
    return str(records[0].storage_id) if records else "NULL"


def _data_version(files: CaptureFiles, inputs: str, asset: str) -> str:
    if asset == "tshark_json":
        return inputs
    if asset == "endpoints":
        return f"{inputs}-{CODE_VERSIONS[asset]}{files.follows and '-'}{files.follows}"
    answers = version(files.enrichment(inputs).read_bytes())
    return answers if asset == "netify_enrichment" else f"{inputs}-{answers}"
