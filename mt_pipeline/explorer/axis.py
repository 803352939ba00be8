"""Where times lie on a timeline: by the clock, since the start of each capture, or without gaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mt_pipeline.explorer.columns import SECOND, Integers
from mt_pipeline.explorer.selection import Selection

_SPARSE = 10
"""Captures that cover less than one part in so many of their span are put one after the other."""

Extent = tuple[int, int, str]
"""The first second of a capture, the one after its last, and its key."""


@dataclass(frozen=True)
class Segment:
    """A stretch of an axis without gaps.

    Attributes:
        at: where it begins on the axis.
        start: its first second since 1970.
        length: in seconds.
        capture: whose it is; None if captures overlap in it.
    """

    at: int
    start: int
    length: int
    capture: str | None

    @property
    def end(self) -> int:
        """The second after it, since 1970."""
        return self.start + self.length

    def as_json(self) -> dict[str, object]:
        """Return it as the page takes it."""
        return {
            "at_s": self.at,
            "start": self.start * SECOND,
            "length_s": self.length,
            "capture": self.capture,
        }


@dataclass(frozen=True, eq=False)
class Axis:
    """A timeline's axis.

    Attributes:
        kind: `time`, `start` or `joined`.
        begin: its first second.
        end: the one after its last.
        zero: where the axis of time begins, in seconds since 1970.
        segments: of an axis without gaps.
        starts: of each experiment the first second of each of its captures.
    """

    kind: str
    begin: int
    end: int
    zero: int = 0
    segments: Sequence[Segment] = ()
    starts: Sequence[Integers] = ()

    def steps(
        self, place: int, selection: Selection, begin: int, step: int, count: int
    ) -> Integers:
        """Return the step that each selected flow of an experiment lies in.

        Args:
            place: of the experiment, among those of the view.
            selection: of its flows.
            begin: where the first step begins.
            step: seconds of a step.
            count: how many steps there are.
        """
        if not count or not len(selection.of):
            return np.zeros(0, np.int64)
        if self.kind == "start":
            captures = selection.frame.columns["capture"].codes
            starts = self.starts[place][captures][selection.of]
            return (selection.flow("second") - starts - begin) // step
        second = self._of(selection.frame.flows.second[selection.first : selection.last])
        # They ascend: so it is enough to find where each step begins. Flows that are not selected
        # may lie beyond the axis.
        begins = np.searchsorted(second, begin + step * np.arange(1, count))
        counts = np.diff(begins, prepend=0, append=len(second))
        steps: Integers = np.repeat(np.arange(count), counts)[selection.flags]
        return steps

    def within(
        self, place: int, selection: Selection, since: int | None, until: int | None
    ) -> Selection:
        """Return what lies between two places on the axis, which times follow."""
        second = self._of(selection.frame.flows.second[selection.first : selection.last])
        first = 0 if since is None else int(np.searchsorted(second, since))
        last = len(second) if until is None else int(np.searchsorted(second, until))
        start = selection.first
        return replace(selection, first=start + first, last=start + max(first, last))

    def _of(self, second: Integers) -> Integers:
        if self.kind == "joined":
            starts = np.array([segment.start for segment in self.segments], np.int64)
            shifts = np.array([each.at - each.start for each in self.segments], np.int64)
            if not len(starts):
                return second
            return second + shifts[np.maximum(np.searchsorted(starts, second, "right") - 1, 0)]
        return second - self.zero


def choose(selections: Sequence[Selection], wanted: str | None) -> str:
    """Return the kind of axis: the one that is wanted, else one on which something can be seen."""
    if wanted:
        return wanted
    extents = _extents(selections)
    if not extents:
        return "time"
    covered = sum(segment.length for segment in _segments(extents))
    span = max(end for _, end, _ in extents) - extents[0][0]
    return "joined" if covered * _SPARSE < span else "time"


def of(selections: Sequence[Selection], kind: str, *, from_zero: bool) -> Axis:
    """Return the axis of some experiments.

    Args:
        selections: what to show of each; all flows of captures that are to be on the axis.
        kind: of the axis.
        from_zero: whether an axis of time begins with 0 instead of seconds since 1970.
    """
    extents = _extents(selections)
    if not extents:
        return Axis(kind, 0, 0, starts=[np.zeros(0, np.int64) for _ in selections])
    if kind == "start":
        longest = max(end - start for start, end, _ in extents)
        return Axis(kind, 0, longest, starts=[_starts(each) for each in selections])
    if kind == "joined":
        segments = _segments(extents)
        return Axis(kind, 0, segments[-1].at + segments[-1].length, segments=segments)
    first, last = extents[0][0], max(end for _, end, _ in extents)
    zero = first if from_zero else 0
    return Axis(kind, first - zero, last - zero, zero)


def _extents(selections: Sequence[Selection]) -> Sequence[Extent]:
    """Return the extents of all captures within the stretch of time, by their starts."""
    found = list[Extent]()
    for selection in selections:
        second = selection.frame.flows.second[selection.first : selection.last]
        if not len(second):
            continue
        capture = selection.frame.columns["capture"]
        firsts, lasts = selection.frame.extents
        for code in np.unique(capture.codes[selection.conversations]):
            start, end = max(firsts[code], second[0]), min(lasts[code], second[-1]) + 1
            if start < end:
                found.append((int(start), int(end), capture.values[int(code)].as_py()))
    return sorted(found)


def _starts(selection: Selection) -> Integers:
    """Return the start of each capture, within the stretch of time."""
    firsts, _ = selection.frame.extents
    second = selection.frame.flows.second[selection.first : selection.last]
    return np.maximum(firsts, second[0]) if len(second) else firsts


def _segments(extents: Sequence[Extent]) -> Sequence[Segment]:
    """Put captures one after the other; those that overlap share a stretch."""
    segments = list[Segment]()
    for start, end, capture in extents:
        last = segments[-1] if segments else None
        if last and start < last.end:
            length = max(end, last.end) - last.start
            segments[-1] = replace(last, length=length, capture=None)
        else:
            at = last.at + last.length if last else 0
            segments.append(Segment(at, start, end - start, capture))
    return segments
