"""What a tshark prints as its errors, of which only the end is kept: the reason is there.

A capture can have it print a line for each packet. A file would grow with these, or, where its
size is limited, lack the end.
"""

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

_BLOCK_BYTES = 1 << 16
_SECONDS = 5
"""To wait for the rest: the pipe stays open as long as the program does not die, or another process
has it by chance."""


@contextmanager
def last_words() -> Iterator[tuple[IO[bytes], Callable[[], bytes]]]:
    """Collect the end of what one program prints.

    Yields:
        A pipe for the program, and a function that waits for the rest after its end and returns
        what was printed.
    """
    reads, writes = os.pipe()
    last = bytearray()
    reader = threading.Thread(target=_keep, args=(io.FileIO(reads), last), daemon=True)
    with io.FileIO(writes, "w") as pipe:
        reader.start()

        def rest() -> bytes:
            pipe.close()
            reader.join(_SECONDS)
            return bytes(last)

        yield pipe, rest


def _keep(pipe: io.FileIO, last: bytearray) -> None:
    with pipe:
        while block := pipe.read(_BLOCK_BYTES):
            last += block
            del last[:-_BLOCK_BYTES]
