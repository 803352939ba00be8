"""Which device of the user's inventory an end of a packet is. How the inventory is written is `inventory.py`.

In this order, as far as something is known:

1. the hardware address, unless the end is a public address: on a packet from the internet it is the router's;
2. the most specific network that has the address, an address itself being the most specific one;
3. the server name of the stream, for the end that serves it: the pattern with most characters beside wildcards, of equals the first in the file.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import radix

from mt_pipeline.devices.inventory import DevicesUnusable, Entry, read

_NAMES_KEPT = 100_000
_WILDCARDS = re.compile(r"\[[^]]*\]|[*?]")


class Devices:
    """The labels of devices; by default of none."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        owners = list(entries)
        self._labels = {entry.label for entry in owners}
        self._of_hardware = {entry.value: entry.label for entry in owners if entry.kind == "mac"}
        self._of_network = radix.Radix()
        for entry in owners:
            if entry.kind == "network":
                self._of_network.add(entry.value).data["label"] = entry.label
        patterns = sorted(
            (entry for entry in owners if entry.kind == "name"),
            key=lambda entry: _generality(entry.value),
        )
        self._patterns = [
            (re.compile(fnmatch.translate(entry.value)).match, entry.label) for entry in patterns
        ]
        self._of_name = lru_cache(maxsize=_NAMES_KEPT)(self._by_name)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an inventory.

        Raises:
            DevicesUnusable: it cannot be used, or two devices claim one thing.
        """
        entries = read(path)
        first: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            other = first.setdefault((entry.kind, entry.value), entry)
            if other.label != entry.label:
                reason = f"{entry.label!r} has {entry.value}, and so has {other.label!r} on line {other.line}; give it to one of them"
                raise DevicesUnusable(path, entry.line, reason)
        return cls(entries)

    def __len__(self) -> int:
        """Count the devices: distinct labels."""
        return len(self._labels)

    def of(
        self, *, hardware: pa.Array, public: pa.Array, addresses: pa.Array, names: pa.Array
    ) -> pa.Array:
        """Say the label of one end of each packet, NULL where it is no device of the inventory.

        Args:
            hardware: its hardware addresses.
            public: whether its address is a public one.
            addresses: its addresses.
            names: the server names of the streams that this end serves, NULL where it does not.
        """
        if not self._labels:
            return pa.nulls(len(hardware), pa.string())
        near = pc.if_else(public, pa.scalar(None, pa.string()), hardware)
        return pc.coalesce(
            _each(near, self._of_hardware.get),
            _each(addresses, self._by_address),
            _each(names, self._of_name),
        )

    def _by_address(self, address: str) -> str | None:
        node = self._of_network.search_best(address)
        return None if node is None else node.data["label"]

    def _by_name(self, name: str) -> str | None:
        name = name.lower().rstrip(".")
        return next((label for matches, label in self._patterns if matches(name)), None)


def _generality(pattern: str) -> tuple[int, bool]:
    literal = _WILDCARDS.sub("", pattern)
    return -len(literal), literal != pattern


def _each(values: pa.Array, label_of: Callable[[str], str | None]) -> pa.Array:
    """Look up each distinct value once."""
    encoded = values.dictionary_encode()
    return pa.array(map(label_of, encoded.dictionary.to_pylist()), pa.string()).take(
        encoded.indices
    )
