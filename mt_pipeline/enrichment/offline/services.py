"""Our own list of services: domain, application, company and role of each, from `services.csv`.

A domain covers all names below it, unless a longer one is listed. `docs/how-to/owners.md` says what
the roles are and where the lines come from. Look-ups are the business of `apps.py` and of the
package `owners`.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SERVICES = Path(__file__).with_name("services.csv")


@dataclass(frozen=True)
class Service:
    """A line of the list.

    Attributes:
        domain: in lower case.
        app: the application, such as `netflix`.
        category: category of the application, as Netify has them.
        company: who runs it.
        role: what the domain is for, if that makes it a tracker or a support party; else empty.
        source: how the domain is known, a key of `SOURCES.md`.
    """

    domain: str
    app: str
    category: str
    company: str
    role: str
    source: str


@cache
def services() -> Sequence[Service]:
    """Return the list, which is read once."""
    with SERVICES.open(newline="", encoding="utf-8") as lines:
        return tuple(Service(**row) for row in csv.DictReader(lines))


@cache
def categories() -> Mapping[str, str]:
    """Return the category of each application."""
    return {service.app: service.category for service in services()}


def suffixes(name: str) -> list[str]:
    """Return a name and the domains above it, the longest first."""
    labels = name.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]
