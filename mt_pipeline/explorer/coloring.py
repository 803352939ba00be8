"""Colours of values: one for each, whatever is filtered and whatever was looked at before.

The largest values of an experiment have colours that differ. Which one a value has follows from its
text, so that it is most often the same in all experiments.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from mt_pipeline.explorer.asked import Side, Values
from mt_pipeline.explorer.columns import Integers, summed
from mt_pipeline.explorer.ranking import largest, text_of

_APART = 8
"""Colours that are told apart best."""
_COLORS = 3 * _APART
"""The colours of the page: these, then lighter ones, then darker ones."""


def colors(side: Side, values: Values, shown: Integers) -> Sequence[int]:
    """Return the numbers of the colours of some values of a dimension, no two the same.

    Args:
        side: whose values they are; the colours are those of all of its flows.
        values: of the dimension.
        shown: places of the values, fewer than there are colours.
    """
    sums = np.zeros(len(values.values))
    for selection, column, places in zip(
        side.selections, values.columns[0], values.places[0], strict=True
    ):
        totals = selection.frame.totals
        weights = totals["sent"] + totals["received"]
        sums[places] += summed(column.codes, weights, len(column.values))
    order = largest(sums, sums > 0, _COLORS)
    known = {
        int(place): color
        for band in range(0, _COLORS, _APART)
        for place, color in _given(values, order[band : band + _APART], band, _APART, set()).items()
    }
    taken = {known[int(place)] for place in shown if int(place) in known}
    others = np.array([place for place in shown if int(place) not in known], np.int64)
    known |= _given(values, others, 0, _COLORS, taken)
    return [known[int(place)] for place in shown]


def _given(
    values: Values, places: Integers, first: int, count: int, taken: set[int]
) -> dict[int, int]:
    """Give each value the colour that its text wants, or the next one that is free."""
    given = dict[int, int]()
    for place in map(int, places):
        color = crc32(text_of(values.values, place).encode()) % count
        while first + color in taken:
            color = (color + 1) % count
        given[place] = first + color
        taken.add(first + color)
    return given
