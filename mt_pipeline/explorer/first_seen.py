"""When each value of a dimension was first seen, and how their number grew."""

from collections.abc import Mapping, Sequence

import numpy as np

from mt_pipeline.explorer.asked import Seen
from mt_pipeline.explorer.columns import SECOND, Integers
from mt_pipeline.explorer.ranking import text_of

_POINTS = 400
_NEVER = np.iinfo(np.int64).max


def first_seen(seen: Seen, dimension: str, *, limit: int) -> Mapping[str, object]:
    """Return the values by the time of their first packet within the view, the latest first.

    Args:
        seen: the view; of a comparison the first side.
        dimension: id of a dimension.
        limit: how many values.
    """
    values = seen.values(dimension)
    (sums,) = values.sums([seen.side])
    firsts = np.full(len(values.values), _NEVER)
    for number, selection in enumerate(seen.side.selections):
        places = values.places[0][number][values.columns[0][number].codes]
        moments = selection.flow("second") * SECOND + selection.flow("begin")
        np.minimum.at(firsts, places[selection.of], moments)
    firsts[0] = _NEVER
    order = np.argsort(firsts, kind="stable")
    order = order[: int((firsts < _NEVER).sum())]
    return {
        "count": len(order),
        "rows": [
            {
                "value": text_of(values.values, int(place)),
                "first": int(firsts[place]),
                "bytes": int(sums.bytes[place]),
                "packets": int(sums.packets[place]),
                "conversations": int(sums.conversations[place]),
            }
            for place in order[::-1][:limit]
        ],
        "growth": _growth(firsts[order]),
    }


def _growth(firsts: Integers) -> Sequence[Mapping[str, int]]:
    """Return how many there were by then, at not too many moments; the last one is among them."""
    count = len(firsts)
    step = -(-count // _POINTS) or 1
    return [
        {"t": int(firsts[place]) // SECOND, "count": place + 1}
        for place in range((count - 1) % step, count, step)
    ]
