"""Sorts blocks by time without holding all of them: what does not fit goes to temporary files."""

import heapq
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

MEMORY = 64 * 2**20
"""Bytes of blocks in memory."""

_BESIDE_BYTES = 250
"""What Python needs for a block besides its bytes."""
_HEAD = struct.Struct("<qIIII")
_SECOND = 10**9
_BUFFER_BYTES = 1 << 16
_MOST_FILES = 100
"""Open at once; more are merged before."""

Key = tuple[int, int, int, int]
"""Seconds, nanoseconds, the place of the capture, the frame number."""


class Sorter:
    """Takes blocks in any order, and gives them back by time, capture and frame number.

    Args:
        folder: for the temporary files, which have no names and vanish with the process.
        memory: bytes of blocks in memory.
    """

    def __init__(self, folder: Path, *, memory: int = MEMORY) -> None:
        self._folder, self._memory = folder, memory
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = []
        self._held: list[tuple[Key, bytes]] = []
        self._size = 0

    def __enter__(self) -> Self:
        """Begin without blocks."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the temporary files."""
        self._stack.close()

    def add(self, time_ns: int, capture: int, number: int, block: bytes) -> None:
        """Take a block."""
        self._held.append(((*divmod(time_ns, _SECOND), capture, number), block))
        self._size += len(block) + _BESIDE_BYTES
        if self._size >= self._memory:
            self._spill()

    def blocks(self) -> Iterator[bytes]:
        """Yield all blocks, sorted."""
        self._held.sort()
        runs = [*map(_read, self._files), iter(self._held)]
        for _, block in heapq.merge(*runs):
            yield block

    def _spill(self) -> None:
        self._held.sort()
        self._write(iter(self._held))
        self._held, self._size = [], 0
        if len(self._files) > _MOST_FILES:
            files, self._files = self._files, []
            self._write(heapq.merge(*map(_read, files)))
            for file in files:
                file.close()

    def _write(self, run: Iterator[tuple[Key, bytes]]) -> None:
        temporary = tempfile.TemporaryFile(dir=self._folder, buffering=_BUFFER_BYTES)  # noqa: SIM115
        file = self._stack.enter_context(temporary)
        for key, block in run:
            file.write(_HEAD.pack(*key, len(block)))
            file.write(block)
        self._files.append(file)


def _read(file: IO[bytes]) -> Iterator[tuple[Key, bytes]]:
    file.seek(0)
    while head := file.read(_HEAD.size):
        *key, length = _HEAD.unpack(head)
        seconds, nanoseconds, capture, number = key
        yield (seconds, nanoseconds, capture, number), file.read(length)
