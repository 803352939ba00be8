"""The last stage of a capture: its rows into every back end, each counted and checked by itself. What a back end is says `backends.py`."""

import logging
import time
from contextlib import closing
from dataclasses import dataclass

import dagster as dg

from mt_pipeline.captures.identity import experiment_of
from mt_pipeline.defs import backends, checks, metadata, pictures, providers
from mt_pipeline.defs.backends import Backend
from mt_pipeline.defs.metadata import Metadata
from mt_pipeline.defs.reporting import Context, log_check
from mt_pipeline.defs.resources import WAITING, Pipeline, pace
from mt_pipeline.enrichment.devices import Devices
from mt_pipeline.questdb.compact import undisturbed
from mt_pipeline.questdb.database import Refused, Unreachable
from mt_pipeline.questdb.flow_loader import FlowsDiffer, Summary
from mt_pipeline.questdb.flows import flows
from mt_pipeline.questdb.loader import Loaded, RowsMissing
from mt_pipeline.questdb.rows import Sources, rows
from mt_pipeline.questdb.story import story

log = logging.getLogger(__name__)

_PAUSE = 2


@dataclass(frozen=True)
class Done:
    """What a load did, the same in every back end.

    Attributes:
        loaded: of the first.
        stored: what it holds.
        described: what people want to know.
        checks: what was checked.
    """

    loaded: Loaded
    stored: Summary
    described: Metadata
    checks: list[dg.AssetCheckEvaluation]


def load(context: Context, pipeline: Pipeline, key: str, sources: Sources) -> Done:
    """Load the rows of a capture into each back end in turn, and count them; a QuestDB of the user's own that is away is waited for.

    Raises:
        Unreachable: QuestDB does not answer, or not for too long.
        RowsMissing: a back end does not hold the packets that were sent; the check is logged.
        FlowsDiffer: its flows do not have the packets and bytes of its rows; likewise.
    """
    own = pipeline.settings.questdb_host is not None  # the embedded one ends with its service, and the run too
    deadline = time.monotonic() + (pipeline.settings.questdb_wait_seconds if own else 0)
    while True:
        try:
            return _load_all(context, pipeline, key, sources)
        except Unreachable as error:
            if isinstance(error, Refused) or time.monotonic() >= deadline:
                raise
            log.warning("%s: %s; asking again", key, error)
            pipeline.progress(key, WAITING, 0)
            time.sleep(_PAUSE)


def _load_all(context: Context, pipeline: Pipeline, key: str, sources: Sources) -> Done:
    experiment, devices = experiment_of(key), providers.devices(pipeline.settings)
    opened = backends.opened(pipeline)
    described: Metadata = {}
    results = []
    for backend in opened:
        results.append(_load(context, pipeline, backend, key, sources, devices))
        described |= backend.described(results[-1][0], capture=key, experiment=experiment)
    loaded, stored = results[0]
    evaluations = [check for one in results for check in (checks.rows_stored(key, one[0]), checks.flows_reconciled(key, one[1]))]
    described |= metadata.of_rows(loaded, stored, experiment=experiment, devices=len(devices))
    if pipeline.settings.has_questdb:
        with undisturbed(pipeline.database(), pipeline.loading_lock):
            told = story(pipeline.database(), key, parts=pictures.PARTS, columns=tuple(pictures.LISTS))
        described |= pictures.of_story(told, grafana=pipeline.settings.grafana_url, experiment=experiment)
        evaluations.append(checks.applications_known(key, told))
    return Done(loaded, stored, described, evaluations)


def _load(context: Context, pipeline: Pipeline, backend: Backend, key: str, sources: Sources, devices: Devices) -> tuple[Loaded, Summary]:
    experiment, progress = experiment_of(key), pace(pipeline, key, "loading", "packets")
    of_flows = flows(sources, capture=key, experiment=experiment, devices=devices)
    with closing(of_flows), rows(sources, capture=key, experiment=experiment, devices=devices) as of_packets:
        try:
            return backend.load(of_packets, of_flows, capture=key, experiment=experiment, progress=progress)
        except RowsMissing as missing:
            log_check(context, checks.rows_stored(key, missing.loaded))
            raise
        except FlowsDiffer as differ:
            log_check(context, checks.flows_reconciled(key, differ.summary))
            raise
