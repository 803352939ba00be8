"""The number of each conversation: `frame_number` of its first packet that can be stored.

It is known as soon as that packet is read, so rows that are sent while tshark reads have it. What
identifies a conversation is in `sums.py`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FOR_NUMBERS = ("key", "positions")
"""Columns of sums that only numbers need: hash of the conversation, rows of the packets."""


class Numbers:
    """The numbers of the conversations so far, in 12 bytes each.

    They are told apart by 64 bits of a hash: of a million conversations, any two share a number
    once in forty million captures.
    """

    def __init__(self) -> None:
        self._keys, self._numbers = np.empty(0, np.uint64), np.empty(0, np.int32)

    def add_to(self, packets: pa.Table, sums: pa.Table) -> pa.Table:
        """Add the column `conversation` to packets; it is NULL where a packet cannot be stored.

        Args:
            packets: a block of them. The blocks come in the order of `frame_number`.
            sums: the sums of this block, with FOR_NUMBERS.
        """
        storable = sums.filter(pc.is_null(sums["skipped"]))
        positions = storable["positions"].combine_chunks()
        numbers = np.zeros(packets.num_rows, np.int32)
        numbers[positions.flatten().to_numpy()] = np.repeat(
            self._of(storable["key"].to_numpy(), storable["first_frame"].to_numpy()),
            positions.value_lengths().to_numpy(zero_copy_only=False),
        )
        is_skipped = pc.is_valid(packets["skipped"]).to_numpy()
        return packets.append_column("conversation", pa.array(numbers, mask=is_skipped))

    def _of(self, keys: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Return the numbers of conversations, and take up those that are new."""
        order = np.lexsort((frames, keys))
        distinct, firsts = np.unique(keys[order], return_index=True)
        places = np.searchsorted(self._keys, distinct)
        is_known = np.zeros(len(distinct), bool)
        within = places < len(self._keys)
        is_known[within] = self._keys[places[within]] == distinct[within]
        new = places[~is_known]
        self._keys = np.insert(self._keys, new, distinct[~is_known])
        self._numbers = np.insert(self._numbers, new, frames[order][firsts][~is_known])
        return self._numbers[np.searchsorted(self._keys, keys)]
