"""The captures of a run, prepared one after the other (`walk.py`), and loaded in groups: to QuestDB, a load is as dear as many of their rows."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.defs import checks, loading
from mt_pipeline.defs.checked import Checked
from mt_pipeline.defs.loading import Done
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.defs.walk import Steps, Walk, is_interrupt
from mt_pipeline.questdb.database import Unreachable
from mt_pipeline.questdb.flow_loader import FlowsDiffer
from mt_pipeline.questdb.loader import RowsMissing
from mt_pipeline.questdb.rows import Sources

_MOST = 25

_BYTES = 2_000_000
"""Of typed packets: some hundred thousand."""

_SECONDS = 5
"""After so long nobody waits for others, which may be slow."""

_LARGE = 5_000_000
"""Bytes of a capture that takes seconds to prepare: nobody waits for it."""

Ended = tuple[str, Exception | None]
"""A capture key, and what went wrong, if anything did."""


@dataclass(frozen=True)
class _Waiting:
    """A capture that waits for its load, since some moment."""

    walk: Walk
    steps: Steps
    sources: Sources
    since: float


def take_all(pipeline: Pipeline, walks: Iterable[Walk]) -> Iterator[Ended]:
    """Take captures through the chosen stages, and say of each how it ended."""
    group: list[_Waiting] = []
    try:
        for walk in walks:
            if group and walk.size >= _LARGE:
                yield from _load(pipeline, group)
            try:
                yield from _prepare(walk, group, wait=not group)
            except CaptureBusyError:  # whoever works on it may wait for one of ours
                yield from _load(pipeline, group)
                yield from _prepare(walk, group, wait=True)
            if _is_full(pipeline, group):
                yield from _load(pipeline, group)
        yield from _load(pipeline, group)
    finally:
        for one in group:  # the run ends before its time
            one.steps.close()


def load_one(pipeline: Pipeline, key: str, sources: Sources, checked: Checked) -> Done:
    """Load one capture; if that fails, it is noted what was checked.

    Raises:
        Exception: what `loading.load` does.
    """
    try:
        return loading.load(pipeline, {key: sources})[key]
    except RowsMissing as missing:
        checked.add(checks.rows_stored(key, missing.loaded))
        raise
    except FlowsDiffer as differ:
        checked.add(checks.flows_reconciled(key, differ.summary))
        raise


def _prepare(walk: Walk, group: list[_Waiting], *, wait: bool) -> Iterator[Ended]:
    """Have a capture join the group, unless it ends before."""
    steps = walk.go(wait=wait)
    try:
        group.append(_Waiting(walk, steps, next(steps), time.monotonic()))
    except StopIteration:
        yield walk.key, None
    except Exception as error:
        if isinstance(error, CaptureBusyError) and not wait:
            raise
        yield walk.key, error


def _is_full(pipeline: Pipeline, group: Sequence[_Waiting]) -> bool:
    if pipeline.settings.rotation and group:  # what it leaves to the next file of its rotation is said when it is loaded
        return True
    size = sum(one.sources.packets.stat().st_size for one in group)
    return len(group) >= _MOST or size >= _BYTES or any(time.monotonic() - one.since >= _SECONDS for one in group)


def _load(pipeline: Pipeline, group: list[_Waiting]) -> Iterator[Ended]:
    """Load the group, and empty it. If that fails, each is loaded by itself: it costs nobody else anything that one of them cannot be."""
    done: dict[str, Done] = {}
    away = None
    if len(group) > 1:
        try:
            done = loading.load(pipeline, {one.walk.key: one.sources for one in group})
        except Unreachable as error:
            away = error
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from None
    while group:
        yield group[0].walk.key, _finish(pipeline, group[0], done.get(group[0].walk.key), away)
        del group[0]


def _finish(pipeline: Pipeline, one: _Waiting, done: Done | None, away: Unreachable | None) -> Exception | None:
    """Send the walk what the load did, or throw what it raised; returns what the walk says of it."""
    problem: Exception | None = away
    if done is None and problem is None:
        try:
            done = load_one(pipeline, one.walk.key, one.sources, one.walk.checked)
        except Exception as error:
            problem = error
    try:
        if done is not None:
            one.steps.send(done)
        elif problem is not None:
            one.steps.throw(problem)
    except StopIteration:
        return None
    except Exception as error:
        return error
    return None
