"""Bars on stderr, if that is a terminal: one for all captures, and one for each that is worked on."""

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from mt_pipeline.captures.progress import duration
from mt_pipeline.terminal import raw, visible

_RATE_SECONDS = 300


class Bars:
    """Bars that are shown while this is entered."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._progress: Progress | None = None
        self._all: TaskID | None = None
        self._at: dict[str, tuple[str, TaskID]] = {}

    def __enter__(self) -> Self:
        """Show them."""
        if sys.stderr.isatty():
            columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate(), _Time()
            shown = Progress(
                *columns,
                console=Console(file=raw(sys.stderr)),
                transient=True,
                speed_estimate_period=_RATE_SECONDS,
                redirect_stdout=False,  # what is said is said to the streams of `terminal.py`, not to rich
                redirect_stderr=False,
            )
            self._progress = self._stack.enter_context(shown)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take them away."""
        self._stack.close()

    def expect(self, captures: int) -> None:
        """Say how many captures there are; one alone has no bar for all."""
        if self._progress and captures > 1:
            self._all = self._progress.add_task("captures", total=captures)

    def show(self, key: str, doing: str, done: int) -> None:
        """Say how far a capture is."""
        if self._progress is None:
            return
        if self._at.get(key, ("",))[0] != doing:
            self._remove(key)
            self._at[key] = doing, self._progress.add_task(visible(f"{doing} {key}"), total=None)
        self._progress.update(self._at[key][1], completed=done)

    def end(self, key: str) -> None:
        """Say that a capture has ended."""
        if self._progress:
            self._remove(key)
            if self._all is not None:
                self._progress.advance(self._all)

    def _remove(self, key: str) -> None:
        if self._progress and key in self._at:
            self._progress.remove_task(self._at.pop(key)[1])


class _Rate(ProgressColumn):
    """Captures, packets or endpoints a second."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        speed = task.speed or 0
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


class _Time(ProgressColumn):
    """The time left where the end is known, else the time since the beginning."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        if task.total is None:
            return Text(duration(task.elapsed or 0))
        return Text("" if task.time_remaining is None else f"{duration(task.time_remaining)} left")
