"""What became of the endpoints, counted: over all providers, and by each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self


@dataclass(frozen=True)
class Counts:
    """What became of the endpoints: endpoints = answered + not_found + failed + pending + not_asked.

    Of a chain, an endpoint is answered if anyone knows it; else failed if anyone failed; else not_found if anyone said so; else pending if anyone's
    budget was spent. Cached, asked and stale are sums. Of one provider the same numbers count those endpoints that it was to be asked about.

    Attributes:
        endpoints: rows.
        cached: answers of paid providers that were there already, and still good.
        asked: endpoints that a paid provider was asked about now, the one at which it stopped included.
        answered: endpoints that are known.
        not_found: endpoints that are not known.
        failed: endpoints without an answer this time.
        pending: endpoints that wait until a provider may be asked again, as its budget is spent.
        not_asked: endpoints that nobody was asked about, for lack of a provider or because it stopped.
        stale: answers of paid providers that are too old, and were used as there was none that is fresh.
        owed: endpoints of which a paid provider owes a fresh answer: not asked though it was to be, failed, pending, or stale.
        stopped: why a provider stopped, if one did.
        by_provider: the same for each provider, in their order.
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
        """Of one provider: the endpoints without any answer of it that another run may get: it failed, or was not asked though it was to be."""
        return self.failed + self.pending + (self.not_asked if self.stopped or self.owed else 0)

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers alone, by name, to be kept and summed."""
        return {name: getattr(self, name) for name in _NUMBERS}

    @classmethod
    def of(cls, numbers: Mapping[str, int]) -> Self:
        """Make counts of `numbers`, also of an earlier or later release."""
        return cls(**{name: number for name, number in numbers.items() if name in _NUMBERS})  # type: ignore[arg-type]  # numbers alone


_NUMBERS = tuple(one.name for one in fields(Counts) if one.type is int)
