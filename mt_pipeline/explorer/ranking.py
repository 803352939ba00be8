"""Which values come first, and what the others add up to."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mt_pipeline.explorer.columns import Flags, Integers, Numbers

NONE, OTHERS, VALUE = "none", "others", "value"
"""Kinds of rows: what is not known, what is not shown, and a value."""


def largest(keys: Numbers, present: Flags, count: int) -> Integers:
    """Return the places of the largest keys, of values that are present.

    The place 0, which is what is not known, is none of them. Of equal ones the first comes first.
    """
    places: Integers = np.flatnonzero(present[1:]) + 1
    if len(places) > count > 0:
        least = np.partition(keys[places], -count)[-count]
        places = places[keys[places] >= least]
    order = np.argsort(-keys[places], kind="stable")
    return np.asarray(places[order[:count]], np.int64)


def text_of(values: pa.Array, place: int) -> str:
    """Return a value as text."""
    return str(values[place].as_py())


def reduced(size: int, shown: Sequence[int] | Integers) -> Integers:
    """Return for each value its row: those that are shown, then the others, then none."""
    rows = np.full(size, len(shown), np.int64)
    rows[np.asarray(shown, np.int64)] = np.arange(len(shown))
    rows[0] = len(shown) + 1
    return rows
