"""What is seen of whole experiments: an observation of `netify_enrichment` at the end of a run, for each experiment that it worked on.

For the underlying concept, see https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from collections.abc import Iterable

import dagster as dg

from mt_pipeline.captures.records import State
from mt_pipeline.defs import metadata
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.workspace import Pipeline


def observe_experiments(context: dg.OpExecutionContext | dg.AssetExecutionContext, pipeline: Pipeline, experiments: Iterable[str]) -> None:
    """Log what became of the endpoints of each experiment, by provider, and what of the budget is spent."""
    calls = providers.calls(pipeline.settings)
    for experiment in sorted(experiments):
        done = [record for record in pipeline.ledger.of_experiment(experiment) if record.state is State.DONE]
        described = metadata.of_experiment(experiment, done, calls)
        context.log_event(dg.AssetObservation("netify_enrichment", metadata=described, description=f"experiment {experiment}, {len(done)} captures"))
