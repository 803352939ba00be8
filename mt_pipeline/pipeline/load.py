"""The last stage: the rows of captures into every back end, each counted and checked by itself. What a back end is says `backends.py`."""

import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from mt_pipeline.backends.questdb.database import Lost, Refused, Unreachable
from mt_pipeline.backends.questdb.flow_loader import FlowsDiffer, Load, Summary
from mt_pipeline.backends.questdb.loader import Loaded, RowsMissing
from mt_pipeline.captures.identity import experiment_of
from mt_pipeline.defs import backends, charts, checks, metadata
from mt_pipeline.defs.backends import Backend
from mt_pipeline.defs.checked import Checked
from mt_pipeline.defs.metadata import Metadata
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.pipeline import capacity, providers
from mt_pipeline.pipeline.workspace import WAITING, Pipeline, pace
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import Sources, months, rows
from mt_pipeline.rows.summary import Storyteller

log = logging.getLogger(__name__)

_PAUSE = 2

_MOST_LOST = 3
"""So often a QuestDB of the user's own may stop in the middle of one load, which may be what ends it."""

_AS_DEAR_AS = 1000
"""Packets: what a capture costs besides those that it has, by which the time of a load is divided among its captures."""


@dataclass(frozen=True)
class Done:
    """What a load did of a capture, the same in every back end.

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


def load(pipeline: Pipeline, captures: Mapping[str, Sources]) -> dict[str, Done]:
    """Load the rows of captures into each back end in turn, and count them; a QuestDB of the user's own that is away is waited for.

    Args:
        pipeline: the rooms.
        captures: what the rows are made of, by capture key; their locks are held.

    Raises:
        Unreachable: QuestDB does not answer, or not for too long.
        Lost: it stops whenever these captures are loaded.
        RowsMissing: a back end does not hold the packets that were sent of a capture.
        FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows.
    """
    own = pipeline.settings.questdb_host is not None  # the embedded one ends with its service, and the run too
    deadline = time.monotonic() + (pipeline.settings.questdb_wait_seconds if own else 0)
    lost = 0
    while True:
        try:
            return _load_all(pipeline, captures)
        except Unreachable as error:
            lost += isinstance(error, Lost)
            if isinstance(error, Refused) or lost == _MOST_LOST or time.monotonic() >= deadline:
                raise
            log.warning("%s: %s; asking again", next(iter(captures)), error)
            for key in captures:
                pipeline.progress(key, WAITING, 0)
            time.sleep(_PAUSE)


def load_one(pipeline: Pipeline, key: str, sources: Sources, checked: Checked) -> Done:
    """Load one capture; if that fails, it is noted what was checked.

    Raises:
        Exception: what `load` does.
    """
    try:
        return load(pipeline, {key: sources})[key]
    except RowsMissing as missing:
        checked.add(checks.rows_stored(key, missing.loaded))
        raise
    except FlowsDiffer as differ:
        checked.add(checks.flows_reconciled(key, differ.summary))
        raise


def _load_all(pipeline: Pipeline, captures: Mapping[str, Sources]) -> dict[str, Done]:
    started, devices = time.monotonic(), providers.devices(pipeline.settings)
    for key, packets in zip(captures, itertools.accumulate(pq.read_metadata(sources.packets).num_rows for sources in captures.values()), strict=True):
        capacity.Room(pipeline.settings, key).check(packets)
    opened = backends.opened(pipeline)
    tellers = {key: Storyteller(tuple(charts.LISTS)) for key in captures}
    first, *_ = [_load(pipeline, backend, captures, devices, tellers if backend is opened[0] else {}) for backend in opened]
    seconds, dear = time.monotonic() - started, sum(loaded.read + _AS_DEAR_AS for loaded, _ in first.values())
    done = {}
    for key, (loaded, stored) in first.items():
        experiment, story = experiment_of(key), tellers[key].story(parts=charts.PARTS)
        described: Metadata = {}
        for backend in opened:
            described |= backend.described(loaded, capture=key, experiment=experiment)
        described |= metadata.of_rows(loaded, stored, experiment=experiment, devices=len(devices))
        described |= charts.of_story(story, grafana=pipeline.settings.grafana_url, experiment=experiment)
        described |= metadata.of_pace(loaded.rows, seconds=seconds * (loaded.read + _AS_DEAR_AS) / dear)
        evaluations = [checks.rows_stored(key, loaded), checks.flows_reconciled(key, stored), checks.applications_known(key, story)]
        done[key] = Done(loaded, stored, described, evaluations)
    return done


def _told(pipeline: Pipeline, key: str, flows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Tell how many flows of a capture are taken, after its packets."""
    done, tell = 0, pace(pipeline, key, "loading flows", "flows")
    for batch in flows:
        yield batch
        done += batch.num_rows
        tell(done)


def _load(
    pipeline: Pipeline, backend: Backend, captures: Mapping[str, Sources], devices: Devices, tellers: Mapping[str, Storyteller]
) -> dict[str, tuple[Loaded, Summary]]:
    loads = []
    with ExitStack() as opened:
        for key, sources in captures.items():
            experiment = experiment_of(key)
            of_packets, of_flows = (
                opened.enter_context(closing(make(sources, capture=key, experiment=experiment, devices=devices))) for make in (rows, flows)
            )
            heard = tellers[key].listen(of_flows) if key in tellers else of_flows
            packets = pq.read_metadata(sources.packets).num_rows
            tell = pace(pipeline, key, "loading", "packets", packets)
            loads.append(Load(key, experiment, of_packets, _told(pipeline, key, heard), tell, months(sources)))
        return dict(zip(captures, backend.load(loads), strict=True))
