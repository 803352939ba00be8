"""Stretches of time with packets, and the gaps between them that a chart leaves out.

Drawn to scale, a long gap would fill the chart.
"""

import numpy as np
import numpy.typing as npt

LONGEST_GAP = 10
"""A gap is left out if it is longer than this many times all the time with packets."""

MOST_STRETCHES = 12
"""A chart of more is hard to read, such as one of a short capture every day."""


def stretches(firsts: npt.ArrayLike, lasts: npt.ArrayLike) -> list[tuple[int, int]]:
    """Join times with packets into stretches worth drawing.

    Args:
        firsts: begin of each time with packets, in order and in any unit.
        lasts: end of each, before the next begins.

    Returns:
        First and last of each stretch. A single stretch if no gap is too long, or if there would
        be too many.
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
