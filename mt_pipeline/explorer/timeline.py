"""Traffic over time: sums of each step for the largest values of a dimension."""

from collections.abc import Sequence

import numpy as np

from mt_pipeline.explorer.asked import Seen, Side, Values
from mt_pipeline.explorer.coloring import colors
from mt_pipeline.explorer.columns import Flags, Integers, Numbers, summed
from mt_pipeline.explorer.ranking import NONE, OTHERS, VALUE, largest, reduced, text_of
from mt_pipeline.explorer.selection import Selection

_VALUES = 10
"""Series with a value; the others and what is not known follow."""
_STEPS = 400
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_LENGTHS = (
    *(1, 2, 5, 10, 15, 20, 30),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 20, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)
"""Seconds of a step."""


def timeline(seen: Seen) -> dict[str, object]:
    """Return sums of the measure over time: each second for bytes and packets."""
    view, measure = seen.view, seen.view.measure
    values = seen.values(view.by)
    keys = np.maximum.reduce([sums.of(measure) for sums in values.sums(seen.sides)])
    shown = largest(keys, keys > 0, _VALUES)
    rows = reduced(len(values.values), shown)
    begin, end = _extent(seen)
    step = _step(end - begin)
    begin -= begin % step
    count = max(-(-(end - begin) // step), 0)
    points = [
        _points(seen, side, values, place, rows, (begin, step, count), len(shown) + 2)
        for place, side in enumerate(seen.sides)
    ]
    titles: list[dict[str, object]] = [
        {"value": text_of(values.values, int(place)), "kind": VALUE, "color": color}
        for place, color in zip(shown, colors(seen.side, values, shown), strict=True)
    ]
    titles += [{"value": None, "kind": OTHERS}, {"value": None, "kind": NONE}]
    used = [row for row in range(len(titles)) if any(side[row].any() for side in points)]
    series = [[{**titles[row], "points": _rounded(side[row])} for row in used] for side in points]
    answer: dict[str, object] = {
        "axis": "start" if view.compares else seen.side.axis.kind,
        "step_s": step,
        "unit": "conversations" if measure == "conversations" else f"{measure}/s",
        "x": [begin + place * step for place in range(count)],
        "series": series[0],
        "segments": [segment.as_json() for segment in seen.side.axis.segments],
    }
    return answer if len(series) == 1 else {**answer, "vs_series": series[1]}


def _extent(seen: Seen) -> tuple[int, int]:
    """Return the first second of the axis and the one after its last."""
    begin = min(side.axis.begin for side in seen.sides)
    end = max(side.axis.end for side in seen.sides)
    view = seen.view
    if view.compares:
        begin = begin if view.from_s is None else max(begin, view.from_s)
        end = end if view.to_s is None else min(end, view.to_s)
    return begin, end


def _step(seconds: int) -> int:
    """Return the shortest usual length of which not too many are needed."""
    for length in _LENGTHS:
        if seconds <= length * _STEPS:
            return length
    return -(-seconds // (_STEPS * _DAY)) * _DAY


def _points(
    seen: Seen,
    side: Side,
    values: Values,
    number: int,
    rows: Integers,
    steps: tuple[int, int, int],
    series: int,
) -> Numbers:
    """Return an array of series by steps."""
    begin, step, count = steps
    measure = seen.view.measure
    total = np.zeros((series, count))
    for place, selection in enumerate(side.selections):
        column, places = values.columns[number][place], values.places[number][place]
        row_of = rows[places][column.codes][selection.of]
        steps_of = side.axis.steps(place, selection, begin, step, count)
        keys = row_of.astype(np.int64) * count + steps_of
        if measure == "conversations":
            begins = keys[_begins(selection, steps_of)]
            found = np.bincount(begins, minlength=series * count).astype(np.float64)
        else:
            found = summed(keys, _weights(selection, measure), series * count)
        total += found.reshape(series, count)
    return total if measure == "conversations" else total / step


def _weights(selection: Selection, measure: str) -> Numbers:
    ways = ("sent", "received") if measure == "bytes" else ("packets_sent", "packets_received")
    first, second = (selection.flow(way) for way in ways)
    return np.add(first, second, dtype=np.float64)


def _begins(selection: Selection, steps_of: Integers) -> Flags:
    """Return for each selected flow whether it is the first of its conversation in its step."""
    first = selection.first
    step_of_all = np.full(selection.last - first, -1, np.int64)
    step_of_all[selection.flags] = steps_of
    previous = selection.frame.previous[first : selection.last][selection.flags] - first
    is_there = previous >= 0
    earlier = np.where(is_there, step_of_all[np.maximum(previous, 0)], -1)
    begins: Flags = ~is_there | (earlier != steps_of)
    return begins


def _rounded(points: Numbers) -> Sequence[float]:
    rounded: Sequence[float] = np.round(points, 3).tolist()
    return rounded
