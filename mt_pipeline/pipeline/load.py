"""The last stage: loads the rows of captures into each back end, which counts what it stores."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

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
    SentEarly,
    Stored,
    Unreachable,
)
from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.early_load import SentRows
from mt_pipeline.pipeline.progress import WAITING
from mt_pipeline.pipeline.run import Run
from mt_pipeline.rows.flows import Captured, flows_together
from mt_pipeline.rows.packets import rows
from mt_pipeline.rows.sources import Sources, months, skipped
from mt_pipeline.rows.summary import CaptureSummary, Summarizer

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2

_MAX_LOST = 3
"""How often QuestDB may stop during one load. After that, the load may be what stops it."""

_CAPTURE_COST = 1000
"""The fixed cost of a capture in a load, in packets. It divides the load's time among captures."""


@dataclass(frozen=True)
class CaptureLoad:
    """The result of a load, for one capture.

    Attributes:
        loaded: counts of the load in the first back end; they are the same in all.
        stored: counts of what that back end stores now.
        summary: traffic over time, and its largest parts.
        locations: where to find the rows, for each back end.
        seconds: the capture's share of the load's time.
    """

    loaded: Loaded
    stored: Stored
    summary: CaptureSummary
    locations: Sequence[Location]
    seconds: float


def load(
    run: Run, captures: Mapping[str, Sources], *, sent: SentRows | None = None
) -> dict[str, CaptureLoad]:
    """Load the rows of captures into each back end in turn, and count them.

    If a QuestDB of your own does not answer, wait for it as long as the settings say.

    Args:
        run: the run that the captures are part of.
        captures: the files that the rows are made of, by capture key. The caller holds their locks.
        sent: of a single capture, the rows that were sent while tshark read it.

    Returns:
        The result for each capture key.

    Raises:
        Unreachable: QuestDB does not answer.
        Lost: QuestDB stops whenever these captures are loaded.
        RowsMissing: a back end does not store the packets that were sent of a capture.
        FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows.
        CaptureLostError: the lock of a capture was lost meanwhile.
    """
    options = run.workspace.options
    # The embedded QuestDB stops with its service, and so does this run.
    wait = 0 if options.questdb_host is None else options.questdb_wait_seconds
    deadline = time.monotonic() + wait
    lost = 0
    while True:
        try:
            return _load_all(run, captures, sent)
        except Unreachable as error:
            sent = None  # send all rows again, as nobody knows what a QuestDB lost that stopped
            lost += isinstance(error, Lost)
            if isinstance(error, Refused) or lost == _MAX_LOST or time.monotonic() >= deadline:
                raise
            log.warning("%s: %s; asking again", next(iter(captures)), error)
            for key in captures:
                run.workspace.progress(key, WAITING, 0)
            time.sleep(_RETRY_SECONDS)


def load_one(run: Run, key: str, sources: Sources, *, sent: SentRows | None = None) -> CaptureLoad:
    """Load one capture. Hand the observer the error if a back end does not store what was sent.

    Raises:
        Exception: what `load` does.
    """
    try:
        return load(run, {key: sources}, sent=sent)[key]
    except (RowsMissing, FlowsDiffer) as error:
        run.observer.load_mismatch(key, error)
        raise


def _load_all(
    run: Run, captures: Mapping[str, Sources], sent: SentRows | None
) -> dict[str, CaptureLoad]:
    started = time.monotonic()
    packets = [pq.read_metadata(sources.packets).num_rows for sources in captures.values()]
    for key, so_far in zip(captures, itertools.accumulate(packets), strict=True):
        capacity.Room(run.workspace.options, key).check(so_far)
    backends = run.workspace.backends()
    summarizers = {key: Summarizer() for key in captures}
    first, *_ = [
        _load(
            run,
            backend,
            captures,
            summarizers if backend is backends[0] else {},
            sent if sent and sent.backend == backend.name else None,
        )
        for backend in backends
    ]
    seconds = time.monotonic() - started
    costs = {key: loaded.read + _CAPTURE_COST for key, (loaded, _) in first.items()}
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
    sent: SentRows | None,
) -> dict[str, tuple[Loaded, Stored]]:
    loads = []
    taken = [
        Captured(key, experiment_of(key), sources, run.devices_in(sources.said.announcements))
        for key, sources in captures.items()
    ]
    made_flows = flows_together(taken, remote_ends=run.remote_ends)
    with ExitStack() as stack:
        for captured, seconds in zip(taken, made_flows, strict=True):
            key, experiment, sources = captured.key, captured.experiment, captured.sources
            make = sent.early.remaining if sent else rows
            packets = make(sources, capture=key, experiment=experiment, devices=captured.devices)
            for batches in (packets, seconds):
                stack.enter_context(closing(batches))
            check = partial(run.workspace.ledger.check, key)
            summed = summarizers[key].pass_on(seconds) if key in summarizers else seconds
            total = pq.read_metadata(sources.packets).num_rows
            progress = run.workspace.pace(key, "loading", "packets", total)
            counted = _with_progress(run, key, summed)
            early = SentEarly(sent.load, total, skipped(sources)) if sent else None
            checked = _checked(packets, check)
            loads.append(
                Load(key, experiment, checked, counted, progress, months(sources), early, check)
            )
        return dict(zip(captures, backend.load(loads), strict=True))


def _checked(
    batches: Iterator[pa.RecordBatch], check: Callable[[], None]
) -> Iterator[pa.RecordBatch]:
    """Yield batches; send none once the lock of the capture is lost."""
    for batch in batches:
        check()
        yield batch


def _with_progress(
    run: Run, key: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield batches of flows, and report how many flows of the capture are done."""
    done, report = 0, run.workspace.pace(key, "loading flows", "flows")
    for batch in batches:
        yield batch
        done += batch.num_rows
        report(done)
