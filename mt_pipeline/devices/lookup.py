"""The device at each end of a packet. `inventory.py` reads the user's inventory.

The first of these that is in the inventory decides:

1. the hardware address, unless the end is public: a packet from the internet has the router's;
2. the most specific network with the address; an address itself is the most specific of all;
3. the server name of the stream, for the end that serves it: the pattern with the most characters
   that are not wildcards; among equals, the first in the file.
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

_CACHED_NAMES = 100_000
_WILDCARDS = re.compile(r"\[[^]]*\]|[*?]")


class Devices:
    """The labels of devices; without entries, of none."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        entries = list(entries)
        self._labels = {entry.label for entry in entries}
        self._by_mac = {entry.value: entry.label for entry in entries if entry.kind == "mac"}
        self._networks = radix.Radix()
        for entry in entries:
            if entry.kind == "network":
                self._networks.add(entry.value).data["label"] = entry.label
        patterns = sorted(
            (entry for entry in entries if entry.kind == "name"),
            key=lambda entry: _generality(entry.value),
        )
        self._patterns = [
            (re.compile(fnmatch.translate(entry.value)).match, entry.label) for entry in patterns
        ]
        self._by_name = lru_cache(maxsize=_CACHED_NAMES)(self._match_name)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an inventory.

        Raises:
            DevicesUnusable: the file cannot be used, or two devices have the same entry.
        """
        entries = read(path)
        first: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            other = first.setdefault((entry.kind, entry.value), entry)
            if other.label != entry.label:
                raise DevicesUnusable(
                    path,
                    entry.line,
                    f"{entry.label!r} has {entry.value}, and so has {other.label!r} "
                    f"on line {other.line}; give it to one of them",
                )
        return cls(entries)

    def __len__(self) -> int:
        """Return the number of distinct labels."""
        return len(self._labels)

    def of(
        self, *, hardware: pa.Array, public: pa.Array, addresses: pa.Array, names: pa.Array
    ) -> pa.Array:
        """Return the label of one end of each packet, NULL where it is not in the inventory.

        Args:
            hardware: the hardware addresses of the end.
            public: whether its addresses are public.
            addresses: its addresses.
            names: the server names of the streams; NULL where this end is the client.
        """
        if not self._labels:
            return pa.nulls(len(hardware), pa.string())
        local = pc.if_else(public, pa.scalar(None, pa.string()), hardware)
        return pc.coalesce(
            _each(local, self._by_mac.get),
            _each(addresses, self._by_address),
            _each(names, self._by_name),
        )

    def _by_address(self, address: str) -> str | None:
        node = self._networks.search_best(address)
        return None if node is None else node.data["label"]

    def _match_name(self, name: str) -> str | None:
        name = name.lower().rstrip(".")
        return next((label for matches, label in self._patterns if matches(name)), None)


def _generality(pattern: str) -> tuple[int, bool]:
    literal = _WILDCARDS.sub("", pattern)
    return -len(literal), literal != pattern


def _each(values: pa.Array, label_of: Callable[[str], str | None]) -> pa.Array:
    """Return the label of each value; each distinct value is looked up once."""
    encoded = values.dictionary_encode()
    return pa.array(map(label_of, encoded.dictionary.to_pylist()), pa.string()).take(
        encoded.indices
    )
