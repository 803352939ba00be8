"""Records of the enrichment room: endpoints, facts, and answers with their provider and time.

Asking is the business of `provider.py`, storing that of `answers/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal, Self, get_args

Kind = Literal["address", "name"]
"""The kind of an endpoint: a public IPv4 or IPv6 address, or a TLS server name."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Endpoint:
    """An address or a name that a provider can be asked about.

    Attributes:
        kind: address or name.
        value: the address in canonical form, or the name in lower case without a trailing dot.
    """

    kind: Kind
    value: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"{self.kind!r} is not a kind of endpoint; use one of {', '.join(KINDS)}"
            )


@dataclass(frozen=True)
class Facts:
    """What is known of an endpoint; None where nothing is known.

    Attributes:
        app_tag: the application, such as `netflix`.
        app_category_tag: the category of the application.
        domain_tag: the category of the domain; names only.
        geo_continent: name of the continent; this and the rest addresses only.
        geo_country: name of the country.
        geo_city: name of the city.
        geo_lon: degrees east.
        geo_lat: degrees north.
        reverse_name: the name that DNS gives for the address by reverse look-up.
    """

    app_tag: str | None = None
    app_category_tag: str | None = None
    domain_tag: str | None = None
    geo_continent: str | None = None
    geo_country: str | None = None
    geo_city: str | None = None
    geo_lon: float | None = None
    geo_lat: float | None = None
    reverse_name: str | None = None

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Return facts from a mapping; unknown names are ignored, as later releases may add some.

        Raises:
            ValueError: a value is of the wrong type.
        """
        known: dict[str, str | float] = {}
        for name in FACTS:
            value = values.get(name)
            if isinstance(value, (int, float) if name in NUMBERS else str):
                known[name] = float(value) if name in NUMBERS else str(value)
            elif value is not None:
                raise ValueError(f"{name} has the wrong type: {type(value).__name__}")
        return cls(**known)  # type: ignore[arg-type]  # each is checked above


NUMBERS = frozenset({"geo_lon", "geo_lat"})
"""The facts that are degrees; the others are text."""

FACTS: tuple[str, ...] = tuple(field.name for field in fields(Facts))
"""Names of the facts, in the order of the columns."""


@dataclass(frozen=True)
class Answer:
    """An answer of one provider about one endpoint; "not known" is an answer, a failure is not.

    Attributes:
        endpoint: the endpoint.
        provider: name of the provider.
        found: False if the provider does not know the endpoint.
        asked_at: when it answered, in UTC; the last time, if it repeated its answer.
        facts: what it knows; may be empty even if found.
    """

    endpoint: Endpoint
    provider: str
    found: bool
    asked_at: datetime
    facts: Facts = Facts()

    def __post_init__(self) -> None:
        if self.asked_at.tzinfo is None:
            raise ValueError("the time of an answer needs a time zone")
        object.__setattr__(self, "asked_at", self.asked_at.astimezone(UTC))
