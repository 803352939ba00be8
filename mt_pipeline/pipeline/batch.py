"""The captures of a run, prepared one after the other (`walk.py`), and loaded in groups: to QuestDB, a load is as dear as many of their rows."""

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from mt_pipeline.backends.questdb.database import Unreachable
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.defs.failures import EXPECTED, Failed, failed, is_interrupt
from mt_pipeline.pipeline import load
from mt_pipeline.pipeline.capture_run import Steps, Walk
from mt_pipeline.pipeline.load import Done
from mt_pipeline.pipeline.workspace import ENDED, Pipeline
from mt_pipeline.rows.packets import Sources

log = logging.getLogger(__name__)

_MOST = 25

_BYTES = 2_000_000
"""Of typed packets: some hundred thousand."""

_SECONDS = 5
"""Whose walk was begun so long ago waits for no other one to begin."""

_LARGE = 5_000_000
"""Bytes of a capture that takes seconds to prepare: nobody waits for it."""

_Ended = tuple[str, Exception | None]
"""A capture key, and what went wrong, if anything did."""


@dataclass(frozen=True)
class _Waiting:
    """A capture that waits for its load, and when its walk was begun."""

    walk: Walk
    steps: Steps
    sources: Sources
    begun: float


def take_all(pipeline: Pipeline, walks: Sequence[Walk]) -> list[Failed]:
    """Take captures through the chosen stages, past those that fail. Returns these."""
    failures: list[Failed] = []
    left = {walk.key: walk for walk in walks}
    try:
        with closing(_ended(pipeline, walks)) as ended:
            for key, error in ended:
                del left[key]
                if error is not None:
                    if not isinstance(error, EXPECTED):
                        log.error("%s", key, exc_info=error)
                    failures.append(failed(key, error, folder=pipeline.settings.data_dir))
                    log.error("%s", failures[-1].said)
                pipeline.progress(key, ENDED, 0)
    except BaseException:
        for walk in left.values():
            walk.never_begun()
        raise
    return failures


def _ended(pipeline: Pipeline, walks: Sequence[Walk]) -> Generator[_Ended, None, None]:
    """Take captures through the stages, and say of each how it ended."""
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
        with ExitStack() as rest:
            for one in group:  # the run ends before its time
                rest.callback(one.steps.close)


def _prepare(walk: Walk, group: list[_Waiting], *, wait: bool) -> Iterator[_Ended]:
    """Have a capture join the group, unless it ends before."""
    steps, begun = walk.go(wait=wait), time.monotonic()
    try:
        group.append(_Waiting(walk, steps, next(steps), begun))
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
    return len(group) >= _MOST or size >= _BYTES or any(time.monotonic() - one.begun >= _SECONDS for one in group)


def _load(pipeline: Pipeline, group: list[_Waiting]) -> Iterator[_Ended]:
    """Load the group, and empty it. If that fails, each is loaded by itself, unless QuestDB is away: that one of them cannot be costs no other."""
    done: dict[str, Done] = {}
    away = None
    if len(group) > 1:
        try:
            done = load.load(pipeline, {one.walk.key: one.sources for one in group})
        except Unreachable as error:
            away = error
        except Exception as error:
            if is_interrupt(error):
                raise KeyboardInterrupt from None
            log.warning("%s captures cannot be loaded together, so each is by itself: %s", len(group), error)
    while group:
        yield group[0].walk.key, _finish(pipeline, group[0], done.get(group[0].walk.key), away)
        del group[0]


def _finish(pipeline: Pipeline, one: _Waiting, done: Done | None, away: Unreachable | None) -> Exception | None:
    """Send the walk what the load did, or throw what it raised; returns what the walk says of it."""
    problem: Exception | None = away
    if done is None and problem is None:
        try:
            done = load.load_one(pipeline, one.walk.key, one.sources, one.walk.checked)
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
