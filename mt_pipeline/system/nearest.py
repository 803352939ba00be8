"""Suggestions for misspelt names of experiments, captures, providers, back ends and settings.

click itself suggests commands.
"""

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from heapq import nlargest

_MOST_COMPARED = 500
"""Names to compare letter by letter: 100,000 would take 20 s."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name.

    Returns:
        `; did you mean 'kitchen'?`, or nothing if the name is known or no known name is similar.
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
    """Count the letters that two names share at the beginning and at the end.

    This is quick, and most typing errors are in the middle.
    """
    pairs = ([first, second], [first[::-1], second[::-1]])
    # The rule is about paths, these are letters.
    return sum(len(os.path.commonprefix(pair)) for pair in pairs)  # noqa: RUF071
