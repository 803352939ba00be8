"""How far a command is, on stderr if that is a terminal: a bar for all captures, and one for each that is worked on.

A terminal that cannot move its cursor gets a plain line every ten seconds. Whatever is no terminal gets nothing.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from mt_pipeline.captures.progress import duration
from mt_pipeline.system.terminal import raw, visible

_RATE_SECONDS = 300
_PLAIN_SECONDS = 10
_WIDE, _NARROW = 90, 60
"""Columns of a terminal that has room for bars beside the words, and of one that has none for the rate."""
_NUMBERS, _LONGEST_KEY = 60, 40
"""Columns of what stands beside a key, and at most of a key."""
_UNITS = {"asking": "endpoints", "loading flows": "flows"}


class Bars:
    """Bars that are shown while this is entered."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._progress: Progress | None = None
        self._step: TaskID | None = None
        self._all: TaskID | None = None
        self._at: dict[str, tuple[str, TaskID]] = {}
        self._plain_at: float | None = None
        self._on_terminal = False, False

    def __enter__(self) -> Self:
        """Show them."""
        self._on_terminal = sys.stdout.isatty(), sys.stderr.isatty()
        if not sys.stderr.isatty():
            return self
        console = Console(file=raw(sys.stderr))
        if console.is_dumb_terminal:
            self._plain_at = time.monotonic()
        else:
            progress = Progress(
                *_columns(console.width),
                console=console,
                expand=True,
                transient=True,
                redirect_stdout=False,  # what is said is said to the streams of `terminal.py`, not to rich
                redirect_stderr=False,
                speed_estimate_period=_RATE_SECONDS,
            )
            self._progress = self._stack.enter_context(progress)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take them away."""
        self.close()

    def close(self) -> None:
        """Take them away before the end; again does nothing."""
        self._stack.close()
        self._progress = self._plain_at = None

    def say(self, line: str, *, err: bool = False) -> None:
        """Print a line, above the bars if it is for the same terminal."""
        if self._progress and self._on_terminal[err]:
            self._progress.console.print(Text(visible(line)), soft_wrap=True)
        else:
            click.echo(line, err=err)

    def step(self, doing: str) -> None:
        """Say what is being done before the first capture or after the last, until the next step or capture."""
        self._plainly(doing)
        self._drop_step()
        if self._progress:
            self._step = self._progress.add_task(doing, total=None)

    def expect(self, captures: int) -> None:
        """Say how many captures there are; one alone has no bar for all."""
        if self._progress and captures > 1:
            self._all = self._progress.add_task("captures", total=captures)

    def show(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Say how far a capture is: packets, or what else is counted, of so many if that is known."""
        unit = _UNITS.get(doing, "packets")
        self._plainly(f"{doing} {key}: {_counted(done, total)} {unit}")
        if self._progress is None:
            return
        self._drop_step()
        if self._at.get(key, ("",))[0] != doing:
            self._remove(key)
            longest = min(
                _LONGEST_KEY, max(self._progress.console.width - _NUMBERS, _LONGEST_KEY // 2)
            )
            task = self._progress.add_task(
                visible(f"{doing} {_shortened(key, longest)}"), total=total, unit=unit
            )
            self._at[key] = doing, task
        self._progress.update(self._at[key][1], completed=done, total=total)

    def end(self, key: str) -> None:
        """Say that a capture has ended."""
        if self._progress:
            self._remove(key)
            if self._all is not None:
                self._progress.advance(self._all)

    def _plainly(self, what: str) -> None:
        if self._plain_at is not None and time.monotonic() >= self._plain_at:
            self._plain_at = time.monotonic() + _PLAIN_SECONDS
            click.echo(what, err=True)

    def _drop_step(self) -> None:
        if self._progress and self._step is not None:
            self._progress.remove_task(self._step)
            self._step = None

    def _remove(self, key: str) -> None:
        if self._progress and key in self._at:
            self._progress.remove_task(self._at.pop(key)[1])


def _columns(width: int) -> Iterator[ProgressColumn]:
    """Choose what there is room for; the words give way to the numbers."""
    numbers = partial(Column, no_wrap=True, justify="right")
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    yield TextColumn("{task.description}", markup=False, table_column=words)
    if width >= _WIDE:
        yield BarColumn(bar_width=20)
    yield _Count(says_what=width >= _NARROW, table_column=numbers())
    if width >= _NARROW:
        yield _Rate(table_column=numbers())
    yield _Time(table_column=numbers())


class _Count(ProgressColumn):
    """Captures, packets or endpoints that are done, and of how many if that is known."""

    def __init__(self, *, says_what: bool, table_column: Column) -> None:
        super().__init__(table_column)
        self._says_what = says_what

    def render(self, task: Task) -> Text:
        """Draw it."""
        if not task.completed and task.total is None:
            return Text()
        total = None if task.total is None else int(task.total)
        unit = task.fields.get("unit", "") if self._says_what else ""
        return Text(f"{_counted(int(task.completed), total)} {unit}".rstrip())


class _Rate(ProgressColumn):
    """The same a second."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        if not task.completed:
            return Text()
        speed = task.speed or 0
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


class _Time(ProgressColumn):
    """The time left where the end is known, else the time since the beginning."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        if task.time_remaining is None or task.finished:
            return Text(duration(task.elapsed or 0))
        return Text(f"{duration(task.time_remaining)} left")


def _counted(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{min(done, total):,}/{total:,}"


def _shortened(key: str, longest: int) -> str:
    """Leave out the beginning of a long key: its end is what tells it from others."""
    return key if len(key) <= longest else f"…{key[1 - longest :]}"
