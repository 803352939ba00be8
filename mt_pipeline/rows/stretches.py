"""Stretches of time with packets, and the gaps between them that a chart leaves out: drawn to scale they would be all that one sees of it."""

import numpy as np
import numpy.typing as npt

LONGEST_GAP = 10
"""So many times all the time with packets: a longer gap is left out."""

MOST_STRETCHES = 12
"""A chart of more would be hard to read. Captures of every day are such: what they have is a calendar."""


def stretches(firsts: npt.ArrayLike, lasts: npt.ArrayLike) -> list[tuple[int, int]]:
    """Join times with packets into the stretches that are worth drawing.

    Args:
        firsts: when packets begin, in order.
        lasts: when they end; before the next ones begin. In any unit of time.

    Returns:
        First and last of each stretch: a single one if no gap is too long, or if there were too many.
    """
    begins, ends = np.asarray(firsts, np.int64), np.asarray(lasts, np.int64)
    busy = int((ends - begins).sum())
    cuts = (
        np.flatnonzero(begins[1:] - ends[:-1] > LONGEST_GAP * busy)
        if busy
        else np.array([], np.int64)
    )
    if len(cuts) >= MOST_STRETCHES:
        return [(int(begins[0]), int(ends[-1]))]
    return [
        (int(begins[first]), int(ends[last]))
        for first, last in zip([0, *(cuts + 1)], [*cuts, len(ends) - 1], strict=True)
    ]
