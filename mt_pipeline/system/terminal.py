r"""Text that others chose, shown so that it controls nothing: neither a terminal, nor the direction in which a line is read.

Names of files, what tshark and Netify say, lines that Dagster logs: all may hold escape sequences and characters without a shape. `shown` makes
of stdout and stderr streams that write these as escapes (`\u001b`, `\u202e`), so no command has to think of it. What we draw ourselves goes
to the `raw` stream.
"""

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

_SHAPELESS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of controls, of what changes the direction or has no width, of halves of pairs, and of separators of lines and paragraphs."""

_BYTE, _HALF_PAIRS, _LONG = 0xDC00, range(0xDC80, 0xDD00), 0x10000


def visible(text: str, *, lines: bool = False) -> str:
    r"""Write what controls a terminal, or cannot be seen, as its code (`\u202e`); a byte that is not UTF-8 as `\xe9`.

    Args:
        text: anything.
        lines: leave the ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or (lines and letter == "\n") else _visible(letter)
        for letter in text
    )


def _visible(letter: str) -> str:
    if (
        unicodedata.category(letter) not in _SHAPELESS
    ):  # a wide space, a letter newer than this Python
        return letter
    code = ord(letter)
    if code in _HALF_PAIRS:  # how Python writes a byte that is not UTF-8
        return f"\\x{code - _BYTE:02x}"
    return f"\\u{code:04x}" if code < _LONG else f"\\U{code:08x}"


class Shown:
    """A stream that writes text as `visible`, and is another stream in all else.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; ends of lines are ends of lines."""
        self._stream.write(visible(text, lines=True))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts."""
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> object:
        """Be the other stream; what writes bytes would pass us by."""
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)


@contextmanager
def shown() -> Iterator[None]:
    """Let all that is written to stdout and stderr be visible."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", Shown(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw(stream: TextIO) -> TextIO:
    """Return the stream below, for bars that we draw with escape sequences."""
    while isinstance(stream, Shown):
        stream = stream._stream
    return stream
