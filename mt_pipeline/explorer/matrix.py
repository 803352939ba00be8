"""Two dimensions against each other: the measure of each pair of values."""

from collections.abc import Mapping

import numpy as np

from mt_pipeline.explorer.asked import Seen, Values
from mt_pipeline.explorer.columns import Integers
from mt_pipeline.explorer.ranking import NONE, OTHERS, VALUE, largest, reduced, text_of


def matrix(seen: Seen, rows: str, columns: str, *, limit: int) -> Mapping[str, object]:
    """Return the measure of the largest values of two dimensions; others and none come last.

    Args:
        seen: the view; of a comparison the first side.
        rows: id of a dimension.
        columns: id of another.
        limit: how many values of each.
    """
    measure = seen.view.measure
    values = [seen.values(dimension) for dimension in (rows, columns)]
    shown = [_largest(each, seen, limit) for each in values]
    height, width = (len(each) + 2 for each in shown)
    cells = np.zeros(height * width)
    places = [reduced(len(each.values), of) for each, of in zip(values, shown, strict=True)]
    for number, selection in enumerate(seen.side.selections):
        row, column = (
            of[each.places[0][number]][each.columns[0][number].codes][selection.conversations]
            for each, of in zip(values, places, strict=True)
        )
        cells += selection.by_codes(row * width + column, height * width).of(measure)
    table = cells.reshape(height, width)
    kept = [np.flatnonzero(table.any(axis=axis)) for axis in (1, 0)]
    return {
        "rows": _titles(values[0], shown[0], kept[0]),
        "columns": _titles(values[1], shown[1], kept[1]),
        "cells": table[np.ix_(*kept)].astype(np.int64).tolist(),
    }


def _largest(values: Values, seen: Seen, limit: int) -> Integers:
    keys = values.sums(seen.sides)[0].of(seen.view.measure)
    return largest(keys, keys > 0, limit)


def _titles(values: Values, shown: Integers, kept: Integers) -> list[Mapping[str, object]]:
    titles: list[Mapping[str, object]] = [
        {"value": text_of(values.values, int(place)), "kind": VALUE} for place in shown
    ]
    titles += [{"value": None, "kind": OTHERS}, {"value": None, "kind": NONE}]
    return [titles[place] for place in kept]
