"""What tshark says of a display filter that it does not understand: the reason, and where in the filter it is.

tshark prints the filter four columns in, and carets below it that it places by bytes of UTF-8. A terminal has columns, so we place them anew.
"""

import os
import re
import unicodedata
from collections.abc import Sequence

WIDTH = 72
"""Columns of a filter that are shown: with the indent they fit into a terminal, which would wrap the filter and the carets apart."""

_CARETS = re.compile(r"^ {4}( *)(\^~*)$", re.MULTILINE)
_SAYS = "tshark: "
_CUT = "…"


def reason(said: str) -> str:
    """Take the sentence from what tshark said: all but the filter and the carets."""
    lines = said.strip().splitlines()
    first = next((line for line in lines if line.startswith(_SAYS)), None)
    if first is None or not _CARETS.search(said):
        return " ".join(said.split()) or "nothing"
    return first


def excerpt(display_filter: str, said: str) -> str:
    """Draw the filter with carets under what is wrong: two lines, or nothing if tshark does not say where."""
    carets = _CARETS.search(said)
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
    r"""Write a letter so that it stays on its line and controls no terminal: `\x1b`."""
    if letter.isspace():
        return " "
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _columns(letters: Sequence[str]) -> int:
    """Count the columns that a terminal gives to a text."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in "".join(letters)
    )


def _last(letters: list[str], columns: int) -> list[str]:
    """Keep the end of what is too long."""
    if _columns(letters) <= columns:
        return letters
    letters = letters[-columns:]
    while _columns(letters) >= columns:
        letters = letters[1:]
    return [_CUT, *letters]


def _first(letters: list[str], columns: int) -> str:
    """Keep the beginning of what is too long."""
    if _columns(letters) <= columns:
        return "".join(letters)
    letters = letters[:columns]
    while _columns(letters) >= columns:
        letters = letters[:-1]
    return "".join(letters) + _CUT
