"""The job `refresh_answers` in this process, or what it would cost."""

from collections.abc import Callable, Iterator, Sequence

import click
import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData

from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record
from mt_pipeline.cli.runner import interrupted
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs import refresh
from mt_pipeline.defs.refresh import RefreshConfig
from mt_pipeline.enrichment.estimate import cost
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline import refresh as refreshing
from mt_pipeline.pipeline.as_of import moment
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings
from mt_pipeline.system.terminal import visible


class NothingToRefreshError(CommandError):
    """No capture that the command names is loaded."""


def run(
    settings: Settings,
    *,
    experiment: str | None,
    capture: str | None,
    as_of: str | None,
    echo: Callable[[str], None],
) -> bool:
    """Refresh captures.

    Args:
        settings: all of them.
        experiment: only its captures; None for all experiments.
        capture: key of the only capture.
        as_of: use what was known on that day, or at that moment.
        echo: prints a line.

    Returns:
        Whether none failed.

    Raises:
        UnknownNameError: there is no such capture or experiment.
        NothingToRefreshError: none of them is loaded.
        MomentError: `as_of` is no date.
        click.Abort: Ctrl-C interrupted it.
    """
    moment(as_of)
    config = RefreshConfig(
        experiment=experiment and fold_experiment(experiment), capture=capture, as_of=as_of
    )
    workspace = Workspace(settings.options())
    _select(workspace, config)
    with dagster_home.opened(settings.options()) as instance, workspace.questdb():
        job = build_defs(workspace=workspace).resolve_job_def(refresh.refresh_answers.name)
        result = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "loggers": dagster_home.QUIET,
                "ops": {"refresh": {"config": config.model_dump(exclude_none=True)}},
            },
        )
    if interrupted(result):
        raise click.Abort
    for line in _lines(result):
        echo(line)
    return result.success


def dry_run(
    settings: Settings, *, experiment: str | None, capture: str | None, echo: Callable[[str], None]
) -> None:
    """Print how many calls a refresh would cost, without any.

    Raises:
        UnknownNameError: there is no such capture or experiment.
        NothingToRefreshError: none of them is loaded.
    """
    workspace = Workspace(settings.options())
    config = RefreshConfig(experiment=experiment and fold_experiment(experiment), capture=capture)
    selected = _select(workspace, config)
    paths, options = refreshing.endpoints_of(workspace, selected), workspace.options
    with providers.opened(options, run="") as (chain, store):
        costs, all_names = (
            cost(paths, providers=chain, store=store, all_names=all_names)
            for all_names in (options.asks_all_names, True)
        )
    echo(f"{len(selected):,} captures with {costs.endpoints:,} endpoints")
    for name, estimate in costs.by_provider.items():
        echo(f"{name}: {estimate.calls:,} calls; {estimate.cached:,} answers are in the store")
        if more := all_names.by_provider[name].calls - estimate.calls:
            echo(f"{name}: {more:,} calls more with MT_ENRICHMENT_NAMES=all")
    for name, count in providers.calls(options).items():
        echo(f"{name.replace('_', ' ')}: {count:,}")


def _select(workspace: Workspace, config: RefreshConfig) -> Sequence[Record]:
    check_known(workspace.ledger.records(), key=config.capture, experiment=config.experiment)
    selected = refreshing.due(workspace, config.selection())
    if not selected:
        name = config.capture or config.experiment
        raise NothingToRefreshError(
            f"nothing is loaded{f' of {name}' if name else ''}; `mt-pipeline status` lists what is"
        )
    return selected


def _lines(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    """Yield what became of the captures, from the events of the run."""
    for event in result.all_events:
        if event.is_step_failure:
            yield f"failed: {_reason(event.step_failure_data)}"
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT:
            metadata = event.step_output_data.metadata
            counts = {name: value.value for name, value in metadata.items()}
            expired = counts["expired"]
            note = f", {expired} left as their packets have expired" if expired else ""
            yield (
                f"{counts['captures']} captures: {counts['reloaded']} loaded again, "
                f"{counts['unchanged']} unchanged{note}"
            )
            if counts["owed"]:
                reason = f": {visible(str(counts['stopped']))}" if "stopped" in counts else ""
                yield f"{counts['owed']:,} answers are owed{reason}"


def _reason(failure: StepFailureData) -> str:
    """Return why the run failed: in a sentence of ours, or for a bug in one with its error."""
    if failure.user_failure_data is not None:
        return failure.user_failure_data.description or ""
    error = failure.error and (failure.error.cause or failure.error)
    text = visible(" ".join(error.message.split())[:500]) if error else "no reason is known"
    return f"unexpected {text}; the log of the run has the details"
