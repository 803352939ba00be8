"""The sensor `pending_answers`: what a spent budget or a provider that was down left out is asked as soon as that can help.

For the underlying concept, see https://docs.dagster.io/guides/automate/sensors
"""

import time
from datetime import UTC, datetime

import dagster as dg

from mt_pipeline.defs import refresh
from mt_pipeline.defs.refresh import RefreshConfig, refresh_answers
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.provider import ProviderStopped
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.workspace import Pipeline

AGAIN_SECONDS = 3600
"""Before this time nobody tries again within a day: what is owed then is so because a provider does not answer, or for the budget of one run."""

_GOING = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@dg.sensor(job_name=refresh_answers.name, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def pending_answers(context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.RunRequest | dg.SkipReason:
    """Request a refresh of the captures that answers are owed for, once there is budget; say how many are pending until then."""
    owing = refresh.owing(pipeline)
    if not owing:
        return dg.SkipReason("no answer is owed")
    pending = f"{sum(record.owed for record in owing):,} answers for {len(owing):,} captures are owed"
    costs_nothing = any(record.answers is None or not record.owed for record in owing)  # loads that broke off, or are behind their rotation
    asks_netify = providers.NETIFY in pipeline.settings.providers
    if asks_netify and not costs_nothing and (why := _spent(providers.budget(pipeline.settings))):
        return dg.SkipReason(f"{pending}; {why}")
    if _is_early(context.cursor):
        return dg.SkipReason(f"{pending}; asked within the hour")
    if context.instance.get_runs(dg.RunsFilter(job_name=refresh_answers.name, statuses=_GOING), limit=1):
        return dg.SkipReason(f"{pending}; a refresh is at work")
    context.update_cursor(str(time.time()))
    return dg.RunRequest(run_config=dg.RunConfig(ops={"refresh": RefreshConfig(owing=True)}))


def _spent(budget: Budget) -> str | None:
    """Say why nobody may be asked now; None if somebody may."""
    try:
        return f"the budget of today is spent ({budget.spent_today():,} calls): goes on at midnight UTC" if budget.left() == 0 else None
    except ProviderStopped as error:
        return str(error)


def _is_early(cursor: str | None) -> bool:
    """Say whether a refresh was requested within the hour; a new day brings a new budget."""
    if cursor is None:
        return False
    asked, now = float(cursor), time.time()
    same_day = datetime.fromtimestamp(asked, UTC).date() == datetime.fromtimestamp(now, UTC).date()
    return same_day and 0 <= now - asked < AGAIN_SECONDS
