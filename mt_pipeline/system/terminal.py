r"""Safe display of text that others chose: it controls neither a terminal nor the text direction.

Names of files, output of tshark and Netify and log lines of Dagster may contain escape sequences
and invisible characters. `shown` replaces stdout and stderr by streams that write these as escapes
(`\u001b`, `\u202e`), so that no command needs to. Progress bars go to the `raw` stream. What is
written to a stream that whoever started us has closed goes nowhere.
"""

import errno
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from mt_pipeline.errors import CommandError

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, formats, surrogates, line and paragraph separators."""

_BYTE, _SURROGATES, _LONG = 0xDC00, range(0xDC80, 0xDD00), 0x10000


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return text with escapes (`\u202e`) for control and invisible characters.

    A byte that is not UTF-8 becomes an escape such as `\xe9`.

    Args:
        text: any text.
        lines: keep the ends of lines.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or (lines and letter == "\n") else _visible(letter)
        for letter in text
    )


def _visible(letter: str) -> str:
    # Others may be unprintable, too: wide spaces, and letters newer than this Python.
    if unicodedata.category(letter) not in _INVISIBLE:
        return letter
    code = ord(letter)
    if code in _SURROGATES:  # Python's stand-in for a byte that is not UTF-8
        return f"\\x{code - _BYTE:02x}"
    return f"\\u{code:04x}" if code < _LONG else f"\\U{code:08x}"


class OutputError(CommandError):
    """stdout or stderr cannot be written; no file of ours is to blame."""


class Shown:
    """A stream that writes text as `visible`, and otherwise behaves like another stream.

    Args:
        stream: the stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; ends of lines stay."""
        with self._blamed():
            self._stream.write(visible(text, lines=True))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._blamed():
            self._stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts."""
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> object:
        """Return an attribute of the other stream, except `buffer`, which would write raw bytes."""
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.EPIPE:  # its reader has enough: click ends without a word
                raise
            name = str(getattr(self._stream, "name", "the output")).strip("<>")
            raise OutputError(
                f"{name} cannot be written ({error.strerror}): "
                "make room where it goes to, or send it elsewhere"
            ) from error


@contextmanager
def shown() -> Iterator[None]:
    """Make all text on stdout and stderr visible while the block runs."""
    _open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", Shown(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Open streams that were closed before this program began; Python has None for these."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It gets the number of the stream, so that no other file does: children write there.
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def raw(stream: TextIO) -> TextIO:
    """Return the underlying stream, for progress bars, which use escape sequences."""
    while isinstance(stream, Shown):
        stream = stream._stream
    return stream
