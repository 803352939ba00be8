"""Which columns follow from another: sums by them are then sums of its sums, of far fewer rows.

A name has one domain, most often, and an address one country. What follows is found in the data of
each experiment, so no number depends on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mt_pipeline.explorer.columns import Column, Integers, narrow

_FEWER = 4
"""A column has so many times fewer values than rows, if sums of its sums are to pay."""


@dataclass(frozen=True, eq=False)
class Follows:
    """What a column follows from.

    Attributes:
        name: of the other column.
        codes: for each value of the other one the code of this one.
    """

    name: str
    codes: Integers


def following(columns: Mapping[str, Column]) -> Mapping[str, Follows]:
    """Return from which column each follows, of several from that with the fewest values."""
    ordered = sorted(columns, key=lambda name: len(columns[name].values))
    found = dict[str, Follows]()
    for place, name in enumerate(ordered):
        codes = columns[name].codes
        for other in ordered[place + 1 :]:
            values, others = columns[other].values, columns[other].codes
            if len(values) * _FEWER > len(codes):
                break
            of_values = np.zeros(len(values), codes.dtype)
            of_values[others] = codes
            if np.array_equal(of_values[others], codes):
                found[name] = Follows(other, narrow(of_values))
                break
    return found
