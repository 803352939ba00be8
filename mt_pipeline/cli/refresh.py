"""`mt-pipeline refresh`: the job `refresh_answers` in this process, or what it would cost."""

from collections.abc import Callable, Sequence

import dagster as dg

from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record
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


class NothingToRefreshError(CommandError):
    """No capture that is meant is loaded."""


def run(
    settings: Settings,
    *,
    experiment: str | None,
    capture: str | None,
    as_of: str | None,
    say: Callable[[str], None],
) -> bool:
    """Refresh captures.

    Args:
        settings: all of them.
        experiment: of these captures; None for all experiments.
        capture: only this one.
        as_of: take what was known on that day, or at that moment.
        say: told how it went, for the terminal.

    Returns:
        Whether none failed.

    Raises:
        UnknownNameError: there is no such capture or experiment.
        NothingToRefreshError: it is not loaded.
        MomentError: `as_of` is no date.
    """
    moment(as_of)
    config = RefreshConfig(
        experiment=experiment and fold_experiment(experiment), capture=capture, as_of=as_of
    )
    workspace = Workspace(settings.options())
    _chosen(workspace, config)
    with dagster_home.opened(settings.options()) as dagster, workspace.questdb():
        result = (
            build_defs(workspace=workspace)
            .resolve_job_def(refresh.refresh_answers.name)
            .execute_in_process(
                instance=dagster,
                raise_on_error=False,
                run_config={
                    "loggers": dagster_home.QUIET,
                    "ops": {"refresh": {"config": config.model_dump(exclude_none=True)}},
                },
            )
        )
    for line in _said(result):
        say(line)
    return result.success


def dry_run(
    settings: Settings, *, experiment: str | None, capture: str | None, say: Callable[[str], None]
) -> None:
    """Say how many calls a refresh would cost; nobody is asked.

    Raises:
        UnknownNameError: there is no such capture or experiment.
        NothingToRefreshError: it is not loaded.
    """
    workspace = Workspace(settings.options())
    chosen = _chosen(
        workspace,
        RefreshConfig(experiment=experiment and fold_experiment(experiment), capture=capture),
    )
    with providers.opened(settings.options(), run="") as (chain, store):
        costs = cost(refreshing.endpoints_of(workspace, chosen), providers=chain, store=store)
    say(f"{len(chosen):,} captures with {costs.endpoints:,} endpoints")
    for name, of_one in costs.by_provider.items():
        say(f"{name}: {of_one.calls:,} calls; {of_one.cached:,} answers are in the store")
    for what, number in providers.calls(settings.options()).items():
        say(f"{what.replace('_', ' ')}: {number:,}")


def _chosen(workspace: Workspace, config: RefreshConfig) -> Sequence[Record]:
    check_known(workspace.ledger.records(), key=config.capture, experiment=config.experiment)
    chosen = refreshing.due(workspace, config.selection())
    if not chosen:
        which = config.capture or config.experiment
        raise NothingToRefreshError(
            f"nothing is loaded{f' of {which}' if which else ''}; `mt-pipeline status` lists what is"
        )
    return chosen


def _said(result: dg.ExecuteInProcessResult) -> list[str]:
    """Read off the run what became of the captures."""
    lines = []
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
            lines.append(f"failed: {event.step_failure_data.user_failure_data.description}")
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT:
            numbers = {name: value.value for name, value in event.step_output_data.metadata.items()}
            expired = (
                f", {numbers['expired']} left as their packets have expired"
                if numbers["expired"]
                else ""
            )
            lines.append(
                f"{numbers['captures']} captures: {numbers['reloaded']} loaded again, {numbers['unchanged']} unchanged{expired}"
            )
    return lines
