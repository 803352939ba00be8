"""When each value of a dimension was first seen, and how their number grew."""

from collections.abc import Mapping, Sequence

import numpy as np

from mt_pipeline.explorer.asked import Seen, Side, Values
from mt_pipeline.explorer.columns import SECOND, Integers
from mt_pipeline.explorer.ranking import text_of
from mt_pipeline.explorer.selection import Sums

_POINTS = 400
_NEVER = np.iinfo(np.int64).max


def first_seen(seen: Seen, dimension: str, *, limit: int) -> Mapping[str, object]:
    """Return the values by the time of their first packet within the view, the latest first.

    Of a comparison, values that only one side has come before the others.

    Args:
        seen: the view.
        dimension: id of a dimension.
        limit: how many values.
    """
    values = seen.values(dimension)
    sums = values.sums(seen.sides)
    firsts = [_firsts(side, values, place) for place, side in enumerate(seen.sides)]
    present = [each < _NEVER for each in firsts]
    latest = np.maximum.reduce([np.where(*both, 0) for both in zip(present, firsts, strict=True)])
    is_on_both = np.logical_and.reduce(present)
    order = np.lexsort((np.arange(len(latest)), latest, ~is_on_both))
    order = order[np.logical_or.reduce(present)[order]][::-1]
    starts = [_start(side) if seen.vs else 0 for side in seen.sides]
    growths = [
        _growth(np.sort(each[each < _NEVER]), start)
        for each, start in zip(firsts, starts, strict=True)
    ]
    answer = {
        "count": len(order),
        "rows": [
            {
                "value": text_of(values.values, int(place)),
                **_row(sums[0], firsts[0], place),
                **({"vs": _row(sums[1], firsts[1], place)} if seen.vs else {}),
            }
            for place in order[:limit]
        ],
        "growth": growths[0],
    }
    # Of a comparison, times of growth count from the start of each side.
    return {**answer, "vs_growth": growths[1]} if seen.vs else answer


def _start(side: Side) -> int:
    """Return the first second of a side since 1970; 0 if it has none."""
    every = [each for each in side.selections if each.first < each.last]
    return min((int(each.frame.flows.second[each.first]) for each in every), default=0)


def _firsts(side: Side, values: Values, number: int) -> Integers:
    """Return for each value its first microsecond since 1970 on a side."""
    firsts = np.full(len(values.values), _NEVER)
    for place, selection in enumerate(side.selections):
        places = values.places[number][place][values.columns[number][place].codes]
        moments = selection.flow("second") * SECOND + selection.flow("begin")
        np.minimum.at(firsts, places[selection.of], moments)
    firsts[0] = _NEVER  # what is not known
    return firsts


def _row(sums: Sums, firsts: Integers, place: int) -> Mapping[str, int | None]:
    return {
        "first": int(firsts[place]) if firsts[place] < _NEVER else None,
        "bytes": int(sums.bytes[place]),
        "packets": int(sums.packets[place]),
        "conversations": int(sums.conversations[place]),
    }


def _growth(firsts: Integers, start: int) -> Sequence[Mapping[str, int]]:
    """Return how many there were by then, at not too many moments; the last one is among them.

    Args:
        firsts: ascending.
        start: the second from which times count.
    """
    count = len(firsts)
    step = -(-count // _POINTS) or 1
    return [
        {"t": int(firsts[place]) // SECOND - start, "count": place + 1}
        for place in range((count - 1) % step, count, step)
    ]
