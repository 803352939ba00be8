"""The company that runs a name or a network, and its role: tracker, support, or neither.

Names are looked up in our own list of services and in that of third-party-web, networks in
`data/networks.csv`. The longest entry decides; of two for one domain, ours. Lists of the user are
the business of `tracker_lists.py`.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.offline.services import services, suffixes
from mt_pipeline.enrichment.owners.networks import DATA
from mt_pipeline.enrichment.owners.tracker_lists import TrackerLists

SCHEMA = pa.schema([("company", pa.string()), ("role", pa.string()), ("app", pa.string())])

TRACKERS = frozenset(
    "advertising analytics attribution crash-reporting listed marketing push-marketing "
    "tag-manager".split()
)
"""Roles of trackers; `listed` is what only a list of the user knows."""

SUPPORT = frozenset("cdn certificates dns hosting push-service time".split())
"""Roles of companies that lend resources to others."""


@dataclass(frozen=True)
class Company:
    """Who runs a name or a network.

    Attributes:
        company: name of the company; None if unknown.
        role: what the name or the network is for; None where nothing special is known.
        app: the application that the network serves, if it is only one; networks only.
    """

    company: str | None = None
    role: str | None = None
    app: str | None = None


_UNKNOWN = Company()


class Companies:
    """The companies of names and networks."""

    def __init__(self, trackers: TrackerLists | None = None) -> None:
        """Use the lists of this package, and those of the user.

        Args:
            trackers: names that are trackers, too.
        """
        self._trackers = trackers

    @property
    def _lists(self) -> "_Lists":
        return _Lists.load()  # when it is asked: most commands never do

    @property
    def names(self) -> frozenset[str]:
        """Names of all companies."""
        return self._lists.names

    def of_name(self, name: str) -> Company:
        """Return the company of a name, in lower case and without a trailing dot."""
        return self._of_names([name])[0]

    def of_names(self, names: pa.Array) -> pa.RecordBatch:
        """Return company and role of each name, NULL where none is known.

        Args:
            names: text; each distinct name is looked up once.

        Returns:
            A row per name, with SCHEMA.
        """
        return _each(names, self._of_names)

    def of_networks(self, asns: pa.Array, organisations: pa.Array) -> pa.RecordBatch:
        """Return company and role of each network, NULL where none is known.

        Args:
            asns: numbers of autonomous systems.
            organisations: what they are registered to.

        Returns:
            A row per network, with SCHEMA.
        """
        known: dict[tuple[int | None, str | None], Company] = {}
        found = []
        for network in zip(asns.to_pylist(), organisations.to_pylist(), strict=True):
            if network not in known:
                known[network] = self._lists.of_network(*network)
            found.append(known[network])
        return _rows(found)

    def of_ends(self, names: pa.Array, networks: pa.RecordBatch) -> pa.RecordBatch:
        """Return company and role of each end: of its name, or without one of its network.

        A name decides alone: most names are of others than who runs the machine. The application
        is always that of the network.

        Args:
            names: text, NULL for an end without a name.
            networks: as `Networks.look_up` returns them.

        Returns:
            A row per end, with SCHEMA.
        """
        has_name = pc.is_valid(names)
        by_name = self.of_names(names)
        by_network = self.of_networks(networks["asn"], networks["organisation"])
        columns = [
            pc.if_else(has_name, by_name[column], by_network[column])
            for column in ("company", "role")
        ]
        return pa.RecordBatch.from_arrays([*columns, by_network["app"]], schema=SCHEMA)

    def _of_names(self, names: list[str | None]) -> list[Company]:
        folded = ["" if name is None else name.lower().rstrip(".") for name in names]
        known = [self._lists.of_name(name) for name in folded]
        if self._trackers is None:
            return known
        return [
            Company(company.company, "listed")
            if is_listed and company.role not in TRACKERS
            else company
            for company, is_listed in zip(known, self._trackers.contain(folded), strict=True)
        ]


class _Lists:
    """The lists in this package."""

    def __init__(self) -> None:
        self._domains = {
            row["domain"]: Company(row["company"], row["category"])
            for row in _read(DATA / "third_parties.csv")
        }
        self._domains |= {
            service.domain: Company(service.company, service.role or None) for service in services()
        }
        self._networks = {
            row["network"].lower(): Company(row["company"], row["role"] or None, row["app"] or None)
            for row in _read(DATA / "networks.csv")
        }
        every = [*self._domains.values(), *self._networks.values()]
        self.names = frozenset(company.company for company in every if company.company)

    @classmethod
    @cache
    def load(cls) -> Self:
        """Return the lists, which are read once."""
        return cls()

    def of_name(self, name: str) -> Company:
        found = (self._domains.get(suffix) for suffix in suffixes(name))
        return next((company for company in found if company), _UNKNOWN)

    def of_network(self, asn: int | None, organisation: str | None) -> Company:
        """Look up the number, then the longest beginning of the organisation that is listed."""
        words = (organisation or "").lower().replace(",", " ").split()
        keys = [f"as{asn}", *(" ".join(words[:end]) for end in range(len(words), 0, -1))]
        found = (self._networks.get(key) for key in keys)
        return next((company for company in found if company), _UNKNOWN)


def _read(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        yield from csv.DictReader(line for line in lines if not line.startswith("#"))


def _each(values: pa.Array, look_up: Callable[[list[str | None]], list[Company]]) -> pa.RecordBatch:
    encoded = values.dictionary_encode()
    return _rows(look_up(encoded.dictionary.to_pylist())).take(encoded.indices)


def _rows(companies: list[Company]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([company.company for company in companies], pa.string()),
            pa.array([company.role for company in companies], pa.string()),
            pa.array([company.app for company in companies], pa.string()),
        ],
        schema=SCHEMA,
    )
