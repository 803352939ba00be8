"""The search tree of an MMDB, walked for many addresses at once: which record each has. What the records say is the reader's business.

The reader takes one address at a time and decodes its record anew, which is nearly all of what a look-up costs; yet a file has far fewer records than
networks. For the format, see https://maxmind.github.io/MaxMind-DB/
"""

import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from maxminddb.reader import Metadata

NO_RECORD = -1

_GAP = 16
"""Zeros between the tree and the records."""

Numbers = npt.NDArray[np.int64]


class Tree:
    """The tree of one file."""

    def __init__(self, path: Path, described: Metadata) -> None:
        """Open the tree.

        Args:
            path: the file.
            described: what its reader says of it.

        Raises:
            ValueError: the file is cut.
        """
        self._nodes = described.node_count
        self._bits = described.record_size
        self._has_six = described.ip_version == 6
        file = np.memmap(path, np.uint8, "r")
        size = self._nodes * self._bits // 4
        if len(file) < size + _GAP:
            raise ValueError(f"its tree of {size} bytes is not whole")
        # The four bytes from any place of the tree on; the gap is there for the last ones.
        self._words: npt.NDArray[np.uint32] = np.ndarray(size, ">u4", file, strides=(1,))
        # IPv4 is in a tree of IPv6 behind 96 zeros.
        self._first_of_four = (
            int(self._walk(np.zeros((1, 12), np.uint8), 0)[0]) if self._has_six else 0
        )

    def records(self, addresses: Sequence[str]) -> Numbers:
        """Number the record of each address, NO_RECORD where there is none; equal numbers are the same record."""
        numbers = np.full(len(addresses), NO_RECORD, np.int64)
        is_six = np.array([":" in address for address in addresses], bool)
        for family, rows in (
            (socket.AF_INET, np.flatnonzero(~is_six)),
            (socket.AF_INET6, np.flatnonzero(is_six)),
        ):
            if len(rows) and (self._has_six or family == socket.AF_INET):
                packed = b"".join(
                    [socket.inet_pton(family, addresses[row]) for row in rows.tolist()]
                )
                first = self._first_of_four if family == socket.AF_INET else 0
                numbers[rows] = self._walk(
                    np.frombuffer(packed, np.uint8).reshape(len(rows), -1), first
                )
        return np.where(numbers == self._nodes, NO_RECORD, numbers)

    def _walk(self, packed: npt.NDArray[np.uint8], first: int) -> Numbers:
        """Follow the bits of each address, from a node on, to where there are no more nodes."""
        at = np.full(len(packed), first, np.int64)
        for place in range(packed.shape[1] * 8):
            going = np.flatnonzero(at < self._nodes)
            if not len(going):
                break
            at[going] = self._next(at[going], packed[going, place // 8] >> (7 - place % 8) & 1)
        return at

    def _next(self, nodes: Numbers, right: npt.NDArray[np.uint8]) -> Numbers:
        """Take one step: a node is two numbers of 24, 28 or 32 bits; those of 28 have their four highest bits in one byte between them."""
        words: Numbers = self._words[
            nodes * (self._bits // 4) + right * (4 if self._bits == 32 else 3)
        ].astype(np.int64)
        if self._bits == 24:
            words >>= 8
        elif self._bits == 28:
            words = np.where(right, words & 0x0FFF_FFFF, words >> 8 | (words & 0xF0) << 20)
        return words
