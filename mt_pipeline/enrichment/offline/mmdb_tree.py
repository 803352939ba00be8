"""The search tree of an MMDB, searched for many addresses at once.

It returns record numbers; maxminddb's reader decodes the records. That reader takes one address at
a time and decodes its record each time, which is most of the cost of a look-up. Yet a file has far
fewer records than networks. For the format, see https://maxmind.github.io/MaxMind-DB/
"""

import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from maxminddb.reader import Metadata

NO_RECORD = -1

_GAP = 16
"""Zero bytes between the tree and the records."""

Numbers = npt.NDArray[np.int64]


class Tree:
    """The tree of one file."""

    def __init__(self, path: Path, metadata: Metadata) -> None:
        """Open the tree.

        Args:
            path: the file.
            metadata: its metadata, from the reader.

        Raises:
            ValueError: the file is truncated.
        """
        self._nodes = metadata.node_count
        self._bits = metadata.record_size
        self._has_ipv6 = metadata.ip_version == 6
        file = np.memmap(path, np.uint8, "r")
        size = self._nodes * self._bits // 4
        if len(file) < size + _GAP:
            raise ValueError(f"its tree of {size} bytes is not complete")
        # The four bytes from each offset of the tree on; the last ones reach into the gap.
        self._words: npt.NDArray[np.uint32] = np.ndarray(size, ">u4", file, strides=(1,))
        # In a tree of IPv6, IPv4 comes after 96 zero bits.
        self._first_of_ipv4 = (
            int(self._descend(np.zeros((1, 12), np.uint8), 0)[0]) if self._has_ipv6 else 0
        )

    def records(self, addresses: Sequence[str]) -> Numbers:
        """Return the number of the record of each address, NO_RECORD where there is none."""
        numbers = np.full(len(addresses), NO_RECORD, np.int64)
        is_ipv6 = np.array([":" in address for address in addresses], bool)
        for family, rows in (
            (socket.AF_INET, np.flatnonzero(~is_ipv6)),
            (socket.AF_INET6, np.flatnonzero(is_ipv6)),
        ):
            if len(rows) and (self._has_ipv6 or family == socket.AF_INET):
                packed = b"".join(
                    [socket.inet_pton(family, addresses[row]) for row in rows.tolist()]
                )
                first = self._first_of_ipv4 if family == socket.AF_INET else 0
                numbers[rows] = self._descend(
                    np.frombuffer(packed, np.uint8).reshape(len(rows), -1), first
                )
        return np.where(numbers == self._nodes, NO_RECORD, numbers)

    def _descend(self, packed: npt.NDArray[np.uint8], first: int) -> Numbers:
        """Follow the bits of each address from a node to the end of its branch."""
        at = np.full(len(packed), first, np.int64)
        for bit in range(packed.shape[1] * 8):
            inner = np.flatnonzero(at < self._nodes)
            if not len(inner):
                break
            at[inner] = self._next(at[inner], packed[inner, bit // 8] >> (7 - bit % 8) & 1)
        return at

    def _next(self, nodes: Numbers, right: npt.NDArray[np.uint8]) -> Numbers:
        """Return the next node of each node.

        A node is two numbers of 24, 28 or 32 bits. Those of 28 bits share the byte between them,
        which has their four highest bits.
        """
        offsets = nodes * (self._bits // 4) + right * (4 if self._bits == 32 else 3)
        words: Numbers = self._words[offsets].astype(np.int64)
        if self._bits == 24:
            words >>= 8
        elif self._bits == 28:
            words = np.where(right, words & 0x0FFF_FFFF, words >> 8 | (words & 0xF0) << 20)
        return words
