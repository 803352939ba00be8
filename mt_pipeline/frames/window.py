"""A stretch of a file in memory, for records that are read one after the other."""

from typing import IO, Protocol

import pyarrow as pa

from mt_pipeline.frames.models import Unreadable

LARGEST = 256 * 2**20
"""Bytes of a record; tshark takes none of more than 128 MiB."""

_BLOCK_BYTES = 1 << 20


class ReadsBlocks(Protocol):
    """A file to read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes: none at the end, and perhaps fewer before."""
        ...


class Decompressed:
    """What a compressed file holds; it ends where the compressed bytes are damaged or cut.

    Args:
        file: the file.
        codec: how it is compressed, as Arrow names it.
    """

    def __init__(self, file: IO[bytes], codec: str) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            block: bytes = self._stream.read(size)
        except OSError as error:
            if error.errno is not None:
                raise
            return b""  # Arrow's own: the compressed bytes are damaged
        return block


class Window:
    """Bytes of a file from `at` on.

    Attributes:
        data: what was read and is still needed.
        at: where the next record begins in it.
    """

    def __init__(self, file: ReadsBlocks) -> None:
        self.data, self.at = b"", 0
        self._file = file

    def has(self, size: int) -> bool:
        """Return whether the file has so many more bytes, and read them.

        Raises:
            Unreadable: a record claims to be larger than any can be.
        """
        return len(self.data) - self.at >= size or self._read(size)

    def _read(self, size: int) -> bool:
        if size > LARGEST:
            raise Unreadable(f"a record claims to have {size:,} bytes")
        parts, have = [self.data[self.at :]], len(self.data) - self.at
        while have < size and (block := self._file.read(max(_BLOCK_BYTES, size - have))):
            parts.append(block)
            have += len(block)
        self.data, self.at = b"".join(parts), 0
        return have >= size
