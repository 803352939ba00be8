"""Counts of endpoints by what became of them: over all providers, and per provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self


@dataclass(frozen=True)
class Counts:
    """Counts of endpoints: endpoints = answered + not_found + failed + pending + not_asked.

    Over a chain of providers, an endpoint is answered if any provider knows it; else failed if any
    failed; else not_found if any said so; else pending if the budget of any was spent. Cached,
    asked and stale are sums. The counts of one provider cover the endpoints that it was meant to
    answer.

    Attributes:
        endpoints: all endpoints.
        cached: good answers of paid providers that were in the store.
        asked: endpoints that a paid provider was asked about, also the one at which it stopped.
        answered: endpoints that are known.
        not_found: endpoints that are not known.
        failed: endpoints that got no answer this time.
        pending: endpoints that wait for a new budget.
        not_asked: endpoints without a provider, or after it stopped.
        stale: answers of paid providers that are too old, used for lack of fresh ones.
        owed: endpoints for which a paid provider owes a fresh answer: not asked, failed, pending or
            stale.
        stopped: why a provider stopped; None if none did.
        by_provider: the counts of each provider, in their order.
    """

    endpoints: int = 0
    cached: int = 0
    asked: int = 0
    answered: int = 0
    not_found: int = 0
    failed: int = 0
    pending: int = 0
    not_asked: int = 0
    stale: int = 0
    owed: int = 0
    stopped: str | None = None
    by_provider: Mapping[str, "Counts"] = field(default_factory=dict, compare=False)

    @property
    def missing(self) -> int:
        """Return the count of endpoints without an answer of this provider that a retry may get.

        Those that were not asked count only if the provider stopped, or was to be asked.
        """
        return self.failed + self.pending + (self.not_asked if self.stopped or self.owed else 0)

    @property
    def numbers(self) -> dict[str, int]:
        """Return the numbers alone, by name."""
        return {name: getattr(self, name) for name in _NUMBERS}

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Self:
        """Return counts from `numbers`; names of other releases are ignored."""
        known = {name: number for name, number in numbers.items() if name in _NUMBERS}
        return cls(**known)  # type: ignore[arg-type]  # numbers alone


_NUMBERS = tuple(attribute.name for attribute in fields(Counts) if attribute.type is int)
