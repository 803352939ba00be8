"""A terminal for tests: a program writes to it, and the test reads what it shows."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mt_pipeline_tests.services import SECONDS

OTHER_TERMINALS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
"""Variables about a terminal that is not the test's. Readline sets two of them."""

_CONTROL = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


@dataclass
class Screen:
    """What a terminal was sent.

    Attributes:
        device: descriptor that a program writes to.
        sent: all so far.
    """

    device: int
    _reads: int
    sent: bytes = b""

    @property
    def text(self) -> str:
        """All so far without colours and movements; a line that is drawn over is a line, too."""
        return _CONTROL.sub("", self.sent.decode(errors="replace")).replace("\r", "\n")

    def shows(self, pattern: str, *, after: int = 0, seconds: float = SECONDS) -> bool:
        """Wait until the text after so many characters matches.

        Returns:
            Whether it matched before the time was up or the program ended.
        """
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text[after:]):
            if time.monotonic() > deadline or not self._read():
                return False
        return True

    def ends(self) -> str:
        """Wait until nobody writes to it any more, and return all."""
        while self._read():
            pass
        return self.text

    def close(self) -> None:
        """Leave it to the program."""
        os.close(self.device)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._reads], [], [], 1)
        try:
            data = os.read(self._reads, 65536) if readable else None
        except OSError:  # how Linux says that nobody writes
            return False
        self.sent += data or b""
        return data != b""


@contextmanager
def screen(*, columns: int = 120) -> Iterator[Screen]:
    """Open a terminal so wide, of 24 lines."""
    reads, device = pty.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        yield Screen(device, reads)
    finally:
        os.close(reads)
