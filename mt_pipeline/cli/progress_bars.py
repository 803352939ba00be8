"""Progress of a command on stderr: a bar for all captures, and one for each at work.

A terminal that cannot move its cursor gets a plain line every ten seconds. If stderr is no
terminal, there is no progress.
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
"""Columns from which there is room for a bar, and for the rate."""
_NUMBERS, _LONGEST_KEY = 60, 40
"""Columns for all but the key, and at most for the key."""
_UNITS = {"asking": "endpoints", "loading flows": "flows", "exporting": "rows"}


class Bars:
    """Progress bars; a context manager that shows them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._progress: Progress | None = None
        self._step: TaskID | None = None
        self._all: TaskID | None = None
        self._at: dict[str, tuple[str, TaskID]] = {}
        self._plain_at: float | None = None
        self._on_terminal = False, False

    def __enter__(self) -> Self:
        """Show the bars."""
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
                redirect_stdout=False,  # lines go to the streams of `terminal.py`, not to rich
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
        """Remove the bars."""
        self.close()

    def close(self) -> None:
        """Remove the bars before the end; a second call does nothing."""
        self._stack.close()
        self._progress = self._plain_at = None

    def echo(self, line: str, *, err: bool = False) -> None:
        """Print a line, above the bars if it is for the same terminal."""
        if self._progress and self._on_terminal[err]:
            self._progress.console.print(Text(visible(line)), soft_wrap=True)
        else:
            click.echo(line, err=err)

    def step(self, doing: str) -> None:
        """Show a step before the first capture or after the last."""
        self._echo_plain(doing)
        self._drop_step()
        if self._progress:
            self._step = self._progress.add_task(doing, total=None)

    def expect(self, captures: int) -> None:
        """Set the number of captures; a single one has no bar for all."""
        if self._progress and captures > 1:
            self._all = self._progress.add_task("captures", total=captures)

    def show(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Show how far a capture is.

        Args:
            key: the capture key.
            doing: what is being done.
            done: count of packets, endpoints or flows.
            total: their number, if it is known.
        """
        unit = _UNITS.get(doing, "packets")
        self._echo_plain(f"{doing} {key}: {_counted(done, total)} {unit}")
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
        """Remove the bar of a capture that has ended."""
        if self._progress:
            self._remove(key)
            if self._all is not None:
                self._progress.advance(self._all)

    def _echo_plain(self, line: str) -> None:
        if self._plain_at is not None and time.monotonic() >= self._plain_at:
            self._plain_at = time.monotonic() + _PLAIN_SECONDS
            click.echo(line, err=True)

    def _drop_step(self) -> None:
        if self._progress and self._step is not None:
            self._progress.remove_task(self._step)
            self._step = None

    def _remove(self, key: str) -> None:
        if self._progress and key in self._at:
            self._progress.remove_task(self._at.pop(key)[1])


def _columns(width: int) -> Iterator[ProgressColumn]:
    """Yield the columns that fit; text gives way to numbers."""
    numbers = partial(Column, no_wrap=True, justify="right")
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    yield TextColumn("{task.description}", markup=False, table_column=words)
    if width >= _WIDE:
        yield BarColumn(bar_width=20)
    yield _Count(with_unit=width >= _NARROW, table_column=numbers())
    if width >= _NARROW:
        yield _Rate(table_column=numbers())
    yield _Time(table_column=numbers())


class _Count(ProgressColumn):
    """Captures, packets or endpoints that are done, and their total if it is known."""

    def __init__(self, *, with_unit: bool, table_column: Column) -> None:
        super().__init__(table_column)
        self._with_unit = with_unit

    def render(self, task: Task) -> Text:
        """Return the text of a bar."""
        if not task.completed and task.total is None:
            return Text()
        total = None if task.total is None else int(task.total)
        unit = task.fields.get("unit", "") if self._with_unit else ""
        return Text(f"{_counted(int(task.completed), total)} {unit}".rstrip())


class _Rate(ProgressColumn):
    """Captures, packets or endpoints a second."""

    def render(self, task: Task) -> Text:
        """Return the text of a bar."""
        if not task.completed:
            return Text()
        speed = task.speed or 0
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


class _Time(ProgressColumn):
    """The time left if it is known, else the time since the start."""

    def render(self, task: Task) -> Text:
        """Return the text of a bar."""
        if task.time_remaining is None or task.finished:
            return Text(duration(task.elapsed or 0))
        return Text(f"{duration(task.time_remaining)} left")


def _counted(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{min(done, total):,}/{total:,}"


def _shortened(key: str, longest: int) -> str:
    """Cut the beginning of a long key: keys differ in their ends."""
    return key if len(key) <= longest else f"…{key[1 - longest :]}"
