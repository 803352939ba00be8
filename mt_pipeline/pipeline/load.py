"""The last stage: the rows of captures into every back end. Each back end counts what it stores."""

import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from mt_pipeline.backends.backend import Backend, Location
from mt_pipeline.backends.loads import (
    FlowsDiffer,
    Load,
    Loaded,
    Lost,
    Refused,
    RowsMissing,
    Stored,
    Unreachable,
)
from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.progress import WAITING
from mt_pipeline.pipeline.run import Run
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import Sources, months, rows
from mt_pipeline.rows.summary import CaptureSummary, Summarizer

log = logging.getLogger(__name__)

_PAUSE = 2

_MOST_LOST = 3
"""How often a QuestDB of the user's own may stop in the middle of one load, which may be what ends it."""

_AS_DEAR_AS = 1000
"""Packets that cost as much as a capture does besides its own. A load's time is divided among its captures so."""


@dataclass(frozen=True)
class CaptureLoad:
    """What a load did with one capture.

    Attributes:
        loaded: in the first back end; all do the same.
        stored: what that back end stores now.
        summary: traffic over time, and the largest parts of it.
        locations: where a person finds the rows, by back end.
        seconds: its share of the load's time.
    """

    loaded: Loaded
    stored: Stored
    summary: CaptureSummary
    locations: Sequence[Location]
    seconds: float


def load(run: Run, captures: Mapping[str, Sources]) -> dict[str, CaptureLoad]:
    """Load the rows of captures into each back end in turn, and count them.

    A QuestDB of the user's own that does not answer is waited for.

    Args:
        run: which the captures are part of.
        captures: what the rows are made of, by capture key; the caller holds their locks.

    Raises:
        Unreachable: QuestDB does not answer, or not for too long.
        Lost: it stops whenever these captures are loaded.
        RowsMissing: a back end does not store the packets that were sent of a capture.
        FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows.
    """
    options = run.workspace.options
    own = (
        options.questdb_host is not None
    )  # the embedded one ends with its service, and the run too
    deadline = time.monotonic() + (options.questdb_wait_seconds if own else 0)
    lost = 0
    while True:
        try:
            return _load_all(run, captures)
        except Unreachable as error:
            lost += isinstance(error, Lost)
            if isinstance(error, Refused) or lost == _MOST_LOST or time.monotonic() >= deadline:
                raise
            log.warning("%s: %s; asking again", next(iter(captures)), error)
            for key in captures:
                run.workspace.progress(key, WAITING, 0)
            time.sleep(_PAUSE)


def load_one(run: Run, key: str, sources: Sources) -> CaptureLoad:
    """Load one capture. The observer is told if a back end does not store what was sent.

    Raises:
        Exception: what `load` does.
    """
    try:
        return load(run, {key: sources})[key]
    except (RowsMissing, FlowsDiffer) as error:
        run.observer.load_mismatch(key, error)
        raise


def _load_all(run: Run, captures: Mapping[str, Sources]) -> dict[str, CaptureLoad]:
    started = time.monotonic()
    packets = [pq.read_metadata(sources.packets).num_rows for sources in captures.values()]
    for key, so_far in zip(captures, itertools.accumulate(packets), strict=True):
        capacity.Room(run.workspace.options, key).check(so_far)
    backends = run.workspace.backends()
    summarizers = {key: Summarizer() for key in captures}
    first, *_ = [
        _load(run, backend, captures, summarizers if backend is backends[0] else {})
        for backend in backends
    ]
    seconds = time.monotonic() - started
    costs = {key: loaded.read + _AS_DEAR_AS for key, (loaded, _) in first.items()}
    done = {}
    for key, (loaded, stored) in first.items():
        experiment = experiment_of(key)
        locations = [
            backend.location(loaded, capture=key, experiment=experiment) for backend in backends
        ]
        share = seconds * costs[key] / sum(costs.values())
        done[key] = CaptureLoad(loaded, stored, summarizers[key].summary(), locations, share)
    return done


def _load(
    run: Run,
    backend: Backend,
    captures: Mapping[str, Sources],
    summarizers: Mapping[str, Summarizer],
) -> dict[str, tuple[Loaded, Stored]]:
    loads = []
    with ExitStack() as stack:
        for key, sources in captures.items():
            experiment = experiment_of(key)
            packets, seconds = (
                stack.enter_context(
                    closing(make(sources, capture=key, experiment=experiment, devices=run.devices))
                )
                for make in (rows, flows)
            )
            summed = summarizers[key].pass_on(seconds) if key in summarizers else seconds
            total = pq.read_metadata(sources.packets).num_rows
            progress = run.workspace.pace(key, "loading", "packets", total)
            counted = _with_progress(run, key, summed)
            loads.append(Load(key, experiment, packets, counted, progress, months(sources)))
        return dict(zip(captures, backend.load(loads), strict=True))


def _with_progress(
    run: Run, key: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Pass on batches of flows, and report how many flows of the capture were taken."""
    done, report = 0, run.workspace.pace(key, "loading flows", "flows")
    for batch in batches:
        yield batch
        done += batch.num_rows
        report(done)
