"""The job `refresh_answers`, and the schedule and the sensor that launch it.

For the underlying concept, see https://docs.dagster.io/guides/build/ops
"""

import time
from datetime import UTC, datetime

import dagster as dg

from mt_pipeline.defs.events import observing
from mt_pipeline.defs.failures import failure
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.provider import ProviderStopped
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline import refresh as refreshing
from mt_pipeline.pipeline.as_of import moment
from mt_pipeline.pipeline.failures import EXPECTED, sentence
from mt_pipeline.pipeline.refresh import Selection
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace

AGAIN_SECONDS = 3600
"""The sensor waits this long between two refreshes of one day. Answers that are still owed after a
refresh are so because a provider does not answer."""

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


class RefreshConfig(dg.Config):
    """The config of a run.

    Attributes:
        experiment: only captures of this experiment.
        capture: only this capture.
        as_of: load the stored answers of that day, or of that moment (ISO 8601), and ask nobody.
            Such captures keep these answers until you refresh them by name.
        owing: only captures that lack answers, or are behind the file before them in their
            rotation.
    """

    experiment: str | None = None
    capture: str | None = None
    as_of: str | None = None
    owing: bool = False

    def selection(self) -> Selection:
        """Return the selection of captures."""
        with_past = self.as_of is not None
        return Selection(self.experiment, self.capture, owing=self.owing, with_past=with_past)


@dg.op(
    name="refresh",
    description="Asks what has expired or is owed, then loads the captures again whose answers "
    "changed, or that an earlier release loaded; only for these tshark may start.",
)
def refresh(
    context: dg.OpExecutionContext, config: RefreshConfig, workspace: dg.ResourceParam[Workspace]
) -> None:
    """Refresh the captures one by one. One that fails does not stop the others."""
    as_of = moment(config.as_of)
    try:
        with (
            observing(context, grafana=workspace.options.grafana_url) as observer,
            Run(workspace, observer, id=context.run.run_id, as_of=as_of) as run,
        ):
            refreshed = refreshing.refresh(run, config.selection())
    except EXPECTED as error:
        reason = sentence(error, folder=workspace.options.data_dir)
        raise dg.Failure(description=reason, allow_retries=False) from None
    numbers = {outcome.name.lower(): number for outcome, number in refreshed.outcomes.items()}
    stopped = {"stopped": refreshed.stopped} if refreshed.stopped else {}
    context.add_output_metadata(
        {"captures": len(refreshed.records), **numbers, "owed": refreshed.owed, **stopped}
    )
    if refreshed.failures:
        raise failure(refreshed.failures, len(refreshed.records)) from None


@dg.job(
    description="Bring the answers of loaded captures up to date, or back to those of a day; "
    "only what changes is loaded again.",
    tags={"dagster/priority": "-1"},  # new captures come first
)
def refresh_answers() -> None:
    """Refresh loaded captures."""
    refresh()


refresh_daily = dg.ScheduleDefinition(
    name="refresh_daily",
    job=refresh_answers,
    cron_schedule="0 4 * * *",
    description="Asks every night what has expired. "
    "Off until it is switched on, as a provider may cost money.",
)


@dg.sensor(
    job_name=refresh_answers.name,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def pending_answers(
    context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
) -> dg.RunRequest | dg.SkipReason:
    """Request a refresh of the captures that lack answers, as soon as there is budget."""
    owing = refreshing.owing(workspace)
    if not owing:
        return dg.SkipReason("no answer is owed")
    owed = sum(record.owed for record in owing)
    pending = f"{owed:,} answers for {len(owing):,} captures are owed"
    # Loads that broke off, and captures that are behind their rotation.
    costs_nothing = any(record.answers is None or not record.owed for record in owing)
    asks_netify = providers.NETIFY in workspace.options.providers
    if asks_netify and not costs_nothing:
        reason = _why_not_now(providers.budget(workspace.options))
        if reason:
            return dg.SkipReason(f"{pending}; {reason}")
    if _is_early(context.cursor):
        return dg.SkipReason(f"{pending}; asked within the hour")
    unfinished = dg.RunsFilter(job_name=refresh_answers.name, statuses=_UNFINISHED)
    if context.instance.get_runs(unfinished, limit=1):
        return dg.SkipReason(f"{pending}; a refresh is at work")
    context.update_cursor(str(time.time()))
    return dg.RunRequest(run_config=dg.RunConfig(ops={"refresh": RefreshConfig(owing=True)}))


def _why_not_now(budget: Budget) -> str | None:
    """Return why Netify may not be asked now; None if it may."""
    try:
        if budget.left() == 0:
            spent = f"{budget.spent_today():,} calls"
            return f"the budget of today is spent ({spent}): goes on at midnight UTC"
    except ProviderStopped as error:
        return str(error)
    return None


def _is_early(cursor: str | None) -> bool:
    """Return whether a refresh was requested within the hour; a new day brings a new budget."""
    if cursor is None:
        return False
    asked, now = float(cursor), time.time()
    same_day = datetime.fromtimestamp(asked, UTC).date() == datetime.fromtimestamp(now, UTC).date()
    return same_day and 0 <= now - asked < AGAIN_SECONDS
