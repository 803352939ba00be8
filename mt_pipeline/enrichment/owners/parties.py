"""The party of a remote end: first, support or third, as studies of IoT and app traffic have it.

Ren et al. (IMC 2019) and Mandalari et al. (PoPETs 2021) call first who made the device or answers
for what it does, support who lends resources to others, such as clouds and CDNs, and third
everyone else. `docs/how-to/owners.md` has the rules and the references. Who is first in an
experiment is the business of `first_parties.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from mt_pipeline.enrichment.offline.services import suffixes
from mt_pipeline.enrichment.owners.companies import SUPPORT

Party = Literal["first", "support", "third"]


@dataclass(frozen=True)
class FirstParty:
    """Who is the first party of a device or an experiment; nobody, if both are empty.

    Attributes:
        domains: its domains, each with all names below it.
        companies: names of its companies, in lower case.
    """

    domains: frozenset[str] = frozenset()
    companies: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Return whether anybody is."""
        return bool(self.domains or self.companies)

    def __or__(self, other: "FirstParty") -> "FirstParty":
        """Return both together."""
        return FirstParty(self.domains | other.domains, self.companies | other.companies)


def party(
    first: FirstParty, *, name: str | None, company: str | None, role: str | None
) -> Party | None:
    """Return the party of a remote end.

    The first that fits counts: a name or a company of the first party; a role of support; third.
    Without a first party only support is known.

    Args:
        first: who is the first party.
        name: name of the remote end, in lower case; None if it has none.
        company: who runs the name, or the network of an end without a name.
        role: what that is for.

    Returns:
        None where nothing is known of the remote end, or nobody is said to be the first party.
    """
    if name is None and company is None and role is None:
        return None
    if company is not None and company.lower() in first.companies:
        return "first"
    if name is not None and not first.domains.isdisjoint(suffixes(name)):
        return "first"
    if role in SUPPORT:
        return "support"
    return "third" if first else None


def parties(ends: pa.RecordBatch, first_of: Callable[[str | None], FirstParty]) -> pa.Array:
    """Return the party of each remote end.

    Args:
        ends: columns `device`, `name`, `company` and `role`, each a text or NULL: the device at
            the local end, and what is known of the remote end. Each distinct row is decided once.
        first_of: return the first party of a device, None for one that is not known.
    """
    columns = [ends[column].to_pylist() for column in ("device", "name", "company", "role")]
    decided: dict[tuple[str | None, ...], Party | None] = {}
    found: list[Party | None] = []
    for end in zip(*columns, strict=True):
        if end not in decided:
            device, name, company, role = end
            decided[end] = party(first_of(device), name=name, company=company, role=role)
        found.append(decided[end])
    return pa.array(found, pa.string())
