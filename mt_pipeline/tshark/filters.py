"""tshark's message about a display filter that it does not understand: the reason, and the place.

tshark prints the filter four columns in, and carets below it, placed by bytes of UTF-8. A terminal
has columns, so we place them anew.
"""

import os
import re
import unicodedata
from collections.abc import Sequence

WIDTH = 72
"""Columns of a filter that are shown: with the indent they fit into a terminal without a wrap."""

_CARETS = re.compile(r"^ {4}( *)(\^~*)$", re.MULTILINE)
_PREFIX = "tshark: "
_CUT = "…"


def reason(message: str) -> str:
    """Return the sentence of a message: all but the filter and the carets."""
    lines = message.strip().splitlines()
    first = next((line for line in lines if line.startswith(_PREFIX)), None)
    if first is None or not _CARETS.search(message):
        return " ".join(message.split()) or "nothing"
    return first


def excerpt(display_filter: str, message: str) -> str:
    """Return the filter with carets under the error, in two lines; empty without a place."""
    carets = _CARETS.search(message)
    if carets is None:
        return ""
    in_bytes = os.fsencode(display_filter)
    start, end = (
        len(in_bytes[:offset].decode("utf-8", "replace"))
        for offset in (len(carets[1]), len(carets[1]) + len(carets[2]))
    )
    shown = [_visible(letter) for letter in display_filter]
    before = _last(shown[:start], WIDTH // 2)
    left = _columns(before)
    under = min(max(1, _columns(shown[start:end])), WIDTH - left)
    return f"{_first([*before, *shown[start:]], WIDTH)}\n{' ' * left}^{'~' * (under - 1)}"


def _visible(letter: str) -> str:
    r"""Return a letter so that it stays on its line and controls no terminal: `\x1b`."""
    if letter.isspace():
        return " "
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _columns(letters: Sequence[str]) -> int:
    """Count the columns of a text in a terminal."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in "".join(letters)
    )


def _last(letters: list[str], columns: int) -> list[str]:
    """Return the end of what is too long."""
    if _columns(letters) <= columns:
        return letters
    letters = letters[-columns:]
    while _columns(letters) >= columns:
        letters = letters[1:]
    return [_CUT, *letters]


def _first(letters: list[str], columns: int) -> str:
    """Return the beginning of what is too long."""
    if _columns(letters) <= columns:
        return "".join(letters)
    letters = letters[:columns]
    while _columns(letters) >= columns:
        letters = letters[:-1]
    return "".join(letters) + _CUT
