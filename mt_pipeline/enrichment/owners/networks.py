"""The network of an address: its autonomous system, and the organisation that runs it.

A table in this package knows the networks of IPv4 and IPv6; `data/README.md` says whose it is. A
file of the user, which `asn_file.py` reads, comes first. Companies are the business of
`companies.py`.
"""

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.enrichment.owners.asn_file import AsnFile, Network

DATA = Path(__file__).with_name("data")

SCHEMA = pa.schema([("asn", pa.int64()), ("organisation", pa.string())])
"""Number of the autonomous system, and the organisation that it is registered to."""

PROVENANCE = b"mt_pipeline"
"""Key of the origin of the table, in the metadata of `organisations.parquet`."""


@dataclass(frozen=True)
class Provenance:
    """Where the table comes from.

    Attributes:
        package: package that it was made of.
        version: its version.
        date: the day of the data, as 2026-01-31.
    """

    package: str
    version: str
    date: str


class Networks:
    """The networks of addresses, from the file of the user and from the table."""

    def __init__(self, *, asn_mmdb: Path | None = None) -> None:
        """Open the file.

        Args:
            asn_mmdb: an MMDB in ASN layout. The table answers what the file does not know.

        Raises:
            ProviderUnusable: the file is missing, is not an MMDB, is damaged, or has no
                organisations.
        """
        self._file = None if asn_mmdb is None else AsnFile(asn_mmdb)

    @property
    def provenance(self) -> Provenance:
        """Where the table comes from."""
        return _Table.load().provenance

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def look_up(self, addresses: pa.Array) -> pa.RecordBatch:
        """Return the network of each address, NULL where none is known.

        Args:
            addresses: text, IPv4 and IPv6; each distinct one is looked up once.

        Returns:
            A row per address, with SCHEMA.
        """
        encoded = addresses.dictionary_encode()
        parsed = [_parsed(address) for address in encoded.dictionary.to_pylist()]
        known = _Table.load().look_up([packed for packed, _ in parsed])
        if self._file is not None:
            known = _preferred(_asked(self._file, [text for _, text in parsed]), known)
        return known.take(encoded.indices)


class _Table:
    """Ranges without gaps, each by its first address; the system 0 is none.

    IPv6 is told by the first 64 bits of an address: of 100,000 ranges 183 are narrower.
    """

    def __init__(self, folder: Path) -> None:
        self._ranges = {
            4: _columns(_read(folder / "ipv4.parquet"), "first", "asn"),
            16: _columns(_read(folder / "ipv6.parquet"), "first", "asn"),
        }
        organisations = _read(folder / "organisations.parquet")
        [self._asns] = _columns(organisations, "asn")
        self._names = organisations["name"].combine_chunks()
        self.provenance = Provenance(**json.loads(organisations.schema.metadata[PROVENANCE]))

    @classmethod
    @cache
    def load(cls) -> Self:
        """Return the table in this package, which is read once."""
        return cls(DATA)

    def look_up(self, packed: Sequence[bytes]) -> pa.RecordBatch:
        """Return the network of each address, with SCHEMA.

        Args:
            packed: 4 or 16 bytes; none where there is no address.
        """
        asns = np.zeros(len(packed), np.uint64)
        sizes = np.array([len(address) for address in packed], np.int64)
        for size, (firsts, systems) in self._ranges.items():
            rows = np.flatnonzero(sizes == size)
            width = min(size, 8)
            addresses = np.frombuffer(
                b"".join([packed[row][:width] for row in rows.tolist()]), f">u{width}"
            )
            at = np.searchsorted(firsts, addresses.astype(np.uint64), "right") - 1
            asns[rows] = np.where(at >= 0, systems[at], 0)
        at = np.minimum(np.searchsorted(self._asns, asns), len(self._asns) - 1)
        is_named = self._asns[at] == asns
        return _rows(
            pa.array(asns.astype(np.int64), mask=asns == 0),
            self._names.take(pa.array(at, mask=~is_named)),
        )


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def _columns(table: pa.Table, *names: str) -> list[npt.NDArray[np.uint64]]:
    # `to_numpy` would import pandas, which takes ten times as long as all else here.
    return [np.from_dlpack(table[name].combine_chunks()).astype(np.uint64) for name in names]


def _rows(asns: pa.Array, organisations: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([asns, organisations], schema=SCHEMA)


def _asked(file: AsnFile, addresses: Sequence[str]) -> pa.RecordBatch:
    """Return the network of each address in a file, with SCHEMA; what is empty is no address."""
    found = iter(file.look_up([address for address in addresses if address]))
    nothing = Network(None, None)
    known = [(next(found) if address else None) or nothing for address in addresses]
    return _rows(
        pa.array([network.asn for network in known], pa.int64()),
        pa.array([network.organisation for network in known], pa.string()),
    )


def _preferred(first: pa.RecordBatch, second: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows of the first; of the second where the first knows nothing."""
    nothing = pc.and_(pc.is_null(first["asn"]), pc.is_null(first["organisation"]))
    return _rows(*(pc.if_else(nothing, second[name], first[name]) for name in SCHEMA.names))


def _parsed(address: str | None) -> tuple[bytes, str]:
    """Return an address as bytes and as text, both empty if it is none.

    IPv4 within IPv6 (mapped, and NAT64 of RFC 6052, which phones meet) is told as IPv4.
    """
    if address is None:
        return b"", ""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address), address
        packed = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return b"", ""
    if packed.startswith((_MAPPED, _NAT64)):
        return packed[12:], socket.inet_ntoa(packed[12:])
    return packed, address


_MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:0:0")[:12]
_NAT64 = socket.inet_pton(socket.AF_INET6, "64:ff9b::")[:12]
