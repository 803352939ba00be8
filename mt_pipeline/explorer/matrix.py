"""Two dimensions against each other: the measure of each pair of values."""

from collections.abc import Mapping, Sequence

import numpy as np

from mt_pipeline.explorer.asked import Seen, Values
from mt_pipeline.explorer.columns import Integers, Numbers
from mt_pipeline.explorer.ranking import NONE, OTHERS, VALUE, largest, reduced, text_of


def matrix(seen: Seen, rows: str, columns: str, *, limit: int) -> Mapping[str, object]:
    """Return the measure of the largest values of two dimensions; others and none come last.

    Args:
        seen: the view; a comparison has the cells of both sides.
        rows: id of a dimension.
        columns: id of another.
        limit: how many values of each.
    """
    values = [seen.values(dimension) for dimension in (rows, columns)]
    shown = [_largest(each, seen, limit) for each in values]
    tables = [_cells(seen, place, values, shown) for place in range(len(seen.sides))]
    present = np.logical_or.reduce([table != 0 for table in tables])
    kept = [np.flatnonzero(present.any(axis=axis)) for axis in (1, 0)]
    first, *others = (table[np.ix_(*kept)].astype(np.int64).tolist() for table in tables)
    return {
        "rows": _titles(values[0], shown[0], kept[0]),
        "columns": _titles(values[1], shown[1], kept[1]),
        "cells": first,
        **({"vs_cells": others[0]} if others else {}),
    }


def _cells(seen: Seen, side: int, values: Sequence[Values], shown: Sequence[Integers]) -> Numbers:
    """Return the measure of each pair on a side."""
    height, width = (len(each) + 2 for each in shown)
    cells = np.zeros(height * width)
    places = [reduced(len(each.values), of) for each, of in zip(values, shown, strict=True)]
    for number, selection in enumerate(seen.sides[side].selections):
        row, column = (
            of[each.places[side][number]][each.columns[side][number].codes][selection.conversations]
            for each, of in zip(values, places, strict=True)
        )
        sums = selection.by_codes(row * width + column, height * width)
        cells += sums.of(seen.view.measure)
    return cells.reshape(height, width)


def _largest(values: Values, seen: Seen, limit: int) -> Integers:
    keys = np.maximum.reduce([sums.of(seen.view.measure) for sums in values.sums(seen.sides)])
    return largest(keys, keys > 0, limit)


def _titles(values: Values, shown: Integers, kept: Integers) -> list[Mapping[str, object]]:
    titles: list[Mapping[str, object]] = [
        {"value": text_of(values.values, int(place)), "kind": VALUE} for place in shown
    ]
    titles += [{"value": None, "kind": OTHERS}, {"value": None, "kind": NONE}]
    return [titles[place] for place in kept]
