"""What a person meant by a misspelt name: of an experiment, a capture, a provider, a back end, a setting. Misspelt commands are click's business."""

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from heapq import nlargest

_MOST_COMPARED = 500
"""Names that are compared letter by letter: 100,000 would take 20 s."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that is nearest to a misspelt one.

    Returns:
        `; did you mean 'kitchen'?`, or nothing if no name is near or the name itself is known.
    """
    by_folded: dict[str, str] = {}
    for other in known:
        if other == name:
            return ""
        by_folded[other.casefold()] = other
    folded = name.casefold()
    compared: Collection[str] = by_folded
    if len(by_folded) > _MOST_COMPARED:
        compared = nlargest(
            _MOST_COMPARED, by_folded, key=lambda other: _same_at_the_ends(folded, other)
        )
    nearest = get_close_matches(folded, compared, n=1)
    return f"; did you mean {by_folded[nearest[0]]!r}?" if nearest else ""


def _same_at_the_ends(first: str, second: str) -> int:
    """Count the letters that two names share at their beginning and at their end: cheap, and most slips leave these alone."""
    ways = ([first, second], [first[::-1], second[::-1]])
    return sum(len(os.path.commonprefix(way)) for way in ways)  # noqa: RUF071  letters, not parts of a path
