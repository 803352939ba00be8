"""The four assets. One step makes them all, so a capture that fails does not stop the others.

For the underlying concept, see https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.tags import PARENT_RUN_ID_TAG

from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.defs import checks
from mt_pipeline.defs.events import observing
from mt_pipeline.defs.failures import failure
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.recovery import at_work
from mt_pipeline.defs.runs import BY_SENSOR, CAPTURES_PER_RUN
from mt_pipeline.pipeline.as_of import moment
from mt_pipeline.pipeline.batch import run_captures
from mt_pipeline.pipeline.refresh import catch_up, report_experiments
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.versions import CODE_VERSIONS, UPSTREAM
from mt_pipeline.pipeline.workspace import Workspace


def _spec(name: str, kinds: set[str], description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        name,
        group_name="captures",
        kinds=kinds,
        description=description,
        deps=UPSTREAM[name],
        code_version=CODE_VERSIONS[name],
        skippable=True,
    )


SPECS = [
    _spec(
        "tshark_json",
        {"tshark", "json"},
        "One document per packet, as tshark prints it: `data/tshark_json/….ndjson.zst`.",
    ),
    _spec(
        "endpoints",
        {"duckdb", "parquet"},
        "Distinct public addresses and TLS server names, with packets, bytes, first and last seen.",
    ),
    _spec(
        "netify_enrichment",
        {"netify", "parquet"},
        "What each endpoint is: application, category, place, and the provider that said so.",
    ),
    _spec(
        "questdb_packets",
        {"questdb", "table"},
        "Every packet as a row of `packets_<experiment>`, with the answers for both ends "
        "and its server name; counted after the load.",
    ),
]


class IngestConfig(dg.Config):
    """The config of a run.

    Attributes:
        filter: tshark display filter of this run; the setting MT_FILTER if it is not given.
        as_of: load the stored answers of that day, or of that moment (ISO 8601), and ask nobody.
    """

    filter: str | None = None
    as_of: str | None = None


@dg.multi_asset(
    name="ingest",
    specs=SPECS,
    check_specs=checks.SPECS,
    partitions_def=captures,
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.multi_run(CAPTURES_PER_RUN),
)
def ingest(
    context: dg.AssetExecutionContext,
    config: IngestConfig,
    workspace: dg.ResourceParam[Workspace],
) -> Iterator[dg.Output[None]]:
    """Take each capture through the chosen stages. One that fails does not stop the others."""
    options, tags = workspace.options, context.run.tags
    stages = {key.to_user_string() for key in context.selected_asset_keys}
    # Dagster looks the keys up each time, and a partition may be deleted meanwhile.
    keys = list(context.partition_keys)
    with (
        at_work(workspace.ledger, context.run),
        observing(context, grafana=options.grafana_url) as observer,
        Run(
            workspace,
            observer,
            id=context.run.run_id,
            stages=stages,
            display_filter=options.filter if config.filter is None else config.filter,
            as_of=moment(config.as_of),
            skips_done=BY_SENSOR in tags and PARENT_RUN_ID_TAG not in tags,
        ) as run,
    ):
        failures = run_captures(run, keys)
        if "netify_enrichment" in stages:
            report_experiments(run, {experiment_of(key) for key in keys})
        if run.includes_load:
            catch_up(run, keys)
    if failures:
        raise failure(failures, len(keys)) from None
    # The evaluations are logged. Without these outputs, Dagster calls the checks missing.
    chosen = context.selected_asset_check_keys
    yield from (
        dg.Output(None, output_name=spec.get_python_identifier())
        for spec in checks.SPECS
        if spec.key in chosen
    )
