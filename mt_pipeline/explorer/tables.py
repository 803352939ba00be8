"""Tables: the values of a dimension with their sums, the others, and what is not known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.explorer.asked import Seen
from mt_pipeline.explorer.columns import Flags, Integers, Numbers
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.ranking import NONE, OTHERS, VALUE, largest, text_of
from mt_pipeline.explorer.selection import Sums

SORTS = ("bytes", "sent", "received", "packets", "conversations", "value", "difference")
SUMS = ("bytes", "sent", "received", "packets", "conversations")


@dataclass(frozen=True)
class Order:
    """How a table is sorted, and what it shows.

    Attributes:
        sort: one of SORTS.
        descending: the largest first.
        find: text that the values have within them, in any case.
        limit: how many values.
    """

    sort: str
    descending: bool = True
    find: str = ""
    limit: int = 10


def table(seen: Seen, dimension: str, order: Order) -> dict[str, object]:
    """Return the table of a dimension.

    The rows of values come first, then one for the others and one for what is not known, if there
    are any. So each column adds up to the total.
    """
    values = seen.values(dimension)
    sides = values.sums(seen.sides)
    present = np.logical_or.reduce([sums.conversations > 0 for sums in sides])
    found = present if not order.find else present & _with(values.values, order.find)
    shown = _sorted(values.values, sides, found, order, seen.view.measure, dimension)
    rows = [
        {"value": text_of(values.values, place), "kind": VALUE, **_row(sides, _at(place))}
        for place in map(int, shown)
    ]
    others = present.copy()
    others[shown] = others[0] = False
    if others.any():
        rows.append({"value": None, "kind": OTHERS, **_row(sides, _among(others))})
    if present[0]:
        rows.append({"value": None, "kind": NONE, **_row(sides, _at(0))})
    return {
        "dimension": dimension,
        "count": int(present[1:].sum()),
        "found": int(found[1:].sum()),
        "rows": rows,
    }


def _with(values: pa.Array, text: str) -> Flags:
    found: Flags = np.array(pc.match_substring(values, text, ignore_case=True).fill_null(False))
    return found


def _sorted(
    values: pa.Array,
    sides: Sequence[Sums],
    found: Flags,
    order: Order,
    measure: str,
    dimension: str,
) -> Integers:
    if order.sort == "value":
        keys = -_ranks(values, is_number=DIMENSIONS[dimension].is_number)
        # Texts that ascend are what one expects first.
        return largest(keys if not order.descending else -keys, found, order.limit)
    if order.sort == "difference":
        keys = np.abs(sides[-1].of(measure) - sides[0].of(measure))
    else:
        keys = np.maximum.reduce([sums.of(order.sort) for sums in sides])
    return largest(keys if order.descending else -keys, found, order.limit)


def _ranks(values: pa.Array, *, is_number: bool) -> Numbers:
    """Return the place of each value in the order of values."""
    comparable = values.cast(pa.int64()) if is_number else values
    ranks = np.empty(len(values))
    ranks[np.asarray(pc.sort_indices(comparable, null_placement="at_start"))] = np.arange(
        len(values)
    )
    return ranks


Reduce = Callable[[Numbers], float]


def _at(place: int) -> Reduce:
    return lambda column: float(column[place])


def _among(flags: Flags) -> Reduce:
    return lambda column: float(column[flags].sum())


def _row(sides: Sequence[Sums], reduce: Reduce) -> dict[str, object]:
    """Return the sums of a row; with those of the other side, if there is one."""
    first, *others = ({name: int(reduce(sums.of(name))) for name in SUMS} for sums in sides)
    row: dict[str, object] = dict(first)
    for other in others:
        row["vs"] = other
    return row
