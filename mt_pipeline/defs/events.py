"""Turns the records of a run into Dagster's events: materialisations, checks, observations.

For the underlying concept, see https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from mt_pipeline.backends.loads import FlowsDiffer, RowsMissing
from mt_pipeline.captures.experiments import Answers
from mt_pipeline.defs import checks, metadata
from mt_pipeline.defs.checks import Evaluations
from mt_pipeline.defs.markdown import Metadata
from mt_pipeline.defs.partitions import captures
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.observer import (
    AnswersFound,
    DocumentsRead,
    EndpointsFound,
    RowsLoaded,
    StageDone,
)
from mt_pipeline.pipeline.versions import CODE_VERSIONS, UPSTREAM, version

Context = dg.AssetExecutionContext | dg.OpExecutionContext


class DagsterObserver:
    """Shows a run in Dagster. Implements `pipeline.observer.Observer`.

    Args:
        context: the context of the run.
        grafana: address of Grafana, for links; None if there is none.
    """

    def __init__(self, context: Context, *, grafana: str | None) -> None:
        self._context = context
        self._grafana = grafana
        self._evaluations = Evaluations()

    def stage_done(self, done: StageDone) -> None:
        """Log the materialisation of a stage, and collect its checks."""
        described, evaluations = self._describe(done)
        self._materialise(done, described)
        self._evaluations.add(*evaluations)

    def load_mismatch(self, key: str, error: RowsMissing | FlowsDiffer) -> None:
        """Collect the check that failed."""
        if isinstance(error, RowsMissing):
            self._evaluations.add(checks.rows_stored(key, error.loaded))
        else:
            self._evaluations.add(checks.flows_reconciled(key, error.stored))

    def experiment_answered(
        self, experiment: str, answers: Answers, calls: Mapping[str, int]
    ) -> None:
        """Log an observation of the answers for an experiment."""
        described = metadata.of_experiment(experiment, answers, calls)
        text = f"experiment {experiment}, {answers.captures} captures"
        observation = dg.AssetObservation("netify_enrichment", metadata=described, description=text)
        self._context.log_event(observation)

    def capture_forgotten(self, key: str) -> None:
        """Delete the partition of the capture."""
        self._context.instance.delete_dynamic_partition(captures.name or "", key)

    def is_cancelled(self) -> bool:
        """Return whether a person cancelled the run, in the UI or by Ctrl-C at a terminal."""
        run = self._context.instance.get_run_by_id(self._context.run.run_id)
        if run is None or run.remote_job_origin is None:
            return True
        return run.status is dg.DagsterRunStatus.CANCELING

    def log_checks(self) -> None:
        """Log one evaluation for each check."""
        for evaluation in self._evaluations.summed_up():
            # The context of an op takes checks too, though its annotation lacks them.
            self._context.log_event(evaluation)  # type: ignore[arg-type]

    def _describe(self, done: StageDone) -> tuple[Metadata, list[dg.AssetCheckEvaluation]]:
        match done:
            case DocumentsRead():
                return metadata.of_documents(done), [checks.packets_read(done)]
            case EndpointsFound():
                return metadata.of_endpoints(done), []
            case AnswersFound():
                return metadata.of_answers(done), [checks.answers_complete(done.key, done.counts)]
            case RowsLoaded():
                described = metadata.of_rows(done, grafana=self._grafana)
                return described, [
                    checks.rows_stored(done.key, done.loaded),
                    checks.flows_reconciled(done.key, done.stored),
                    checks.applications_known(done.key, done.summary),
                ]
        raise TypeError(f"{type(done).__name__} is not a stage that is known here")

    def _materialise(self, done: StageDone, described: Metadata) -> None:
        # A logged event has no versions by itself. The UI needs them to show what is stale.
        tags = {
            "dagster/code_version": CODE_VERSIONS[done.asset],
            "dagster/data_version": _data_version(done.files, done.inputs, done.asset),
        }
        for upstream in UPSTREAM[done.asset]:
            data_version = _data_version(done.files, done.inputs, upstream)
            tags[f"dagster/input_data_version/{upstream}"] = data_version
            tags[f"dagster/input_event_pointer/{upstream}"] = self._last_event(done.key, upstream)
        self._context.log_event(
            dg.AssetMaterialization(done.asset, partition=done.key, metadata=described, tags=tags)
        )

    def _last_event(self, key: str, asset: str) -> str:
        # Only the number is read: the event itself takes longer.
        numbers = self._context.instance.get_latest_storage_id_by_partition(
            dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, {key}
        )
        return str(numbers.get(key, "NULL"))


@contextmanager
def observing(context: Context, *, grafana: str | None) -> Iterator[DagsterObserver]:
    """Yield an observer. It logs its checks when the block ends, also after an error."""
    observer = DagsterObserver(context, grafana=grafana)
    try:
        yield observer
    finally:
        observer.log_checks()


def _data_version(files: CaptureFiles, inputs: str, asset: str) -> str:
    if asset == "tshark_json":
        return inputs
    if asset == "endpoints":
        return f"{inputs}-{CODE_VERSIONS[asset]}{files.follows and '-'}{files.follows}"
    answers = version(files.enrichment(inputs).read_bytes())
    return answers if asset == "netify_enrichment" else f"{inputs}-{answers}"
