"""The device at each end of a packet: of the user's inventory, else one that names itself.

`inventory.py` reads the inventory. The first of these that is in it decides:

1. the hardware address, unless the end is public: a packet from the internet has the router's;
2. the most specific network with the address; an address itself is the most specific of all;
3. the server name of the stream, for the end that serves it: the pattern with the most characters
   that are not wildcards; among equals, the first in the file.

Of the devices that name themselves (`found.py`) the hardware address decides, then the address; of
an end with a public address, neither.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Set
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import radix

from mt_pipeline.devices.found import Found, FoundDevices
from mt_pipeline.devices.inventory import DevicesUnusable, Entry, read

_CACHED_NAMES = 100_000
_WILDCARDS = re.compile(r"\[[^]]*\]|[*?]")

INVENTORY = "inventory"
"""The source of a label of the inventory; others are those of `statements.RANKS`."""


@dataclass(frozen=True)
class Labels:
    """The devices at one end of packets, NULL where they are not known.

    Attributes:
        labels: what they are called.
        sources: who says so.
    """

    labels: pa.Array
    sources: pa.Array


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
        self._found: FoundDevices | None = None

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

    @property
    def labels(self) -> Set[str]:
        """The labels of the inventory."""
        return self._labels

    @property
    def found(self) -> FoundDevices | None:
        """The devices that name themselves, if they are known."""
        return self._found

    def with_found(self, found: FoundDevices) -> Self:
        """Return these devices, and those of a capture that name themselves."""
        both = copy(self)
        both._found = found
        return both

    def of(
        self, *, hardware: pa.Array, public: pa.Array, addresses: pa.Array, names: pa.Array
    ) -> Labels:
        """Return the devices at one end of each packet.

        Args:
            hardware: the hardware addresses of the end.
            public: whether its addresses are public.
            addresses: its addresses.
            names: the server names of the streams; NULL where this end is the client.
        """
        nothing = pa.scalar(None, pa.string())
        local = pc.if_else(public, nothing, hardware)
        listed = self._listed(local, addresses, names)
        sources = pc.if_else(pc.is_valid(listed), INVENTORY, nothing)
        if self._found is None:
            return Labels(listed, sources)
        ends = ((local, self._found.by_hardware), (addresses, self._found.by_address))
        by_end = [_found(values, look_up) for values, look_up in ends]
        return Labels(
            pc.coalesce(listed, *(labels for labels, _ in by_end)),
            pc.coalesce(sources, *(sources for _, sources in by_end)),
        )

    def _listed(self, local: pa.Array, addresses: pa.Array, names: pa.Array) -> pa.Array:
        """Return the labels of the inventory."""
        if not self._labels:
            return pa.nulls(len(local), pa.string())
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


def _found(values: pa.Array, look_up: Callable[[str], Found | None]) -> tuple[pa.Array, pa.Array]:
    """Return the label of each value, and its source; each distinct value is looked up once."""
    encoded = values.dictionary_encode()
    found = [look_up(value) for value in encoded.dictionary.to_pylist()]
    labels, sources = (
        pa.array([each and getattr(each, name) for each in found], pa.string())
        for name in ("label", "source")
    )
    return labels.take(encoded.indices), sources.take(encoded.indices)
