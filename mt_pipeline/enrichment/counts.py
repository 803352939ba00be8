"""What became of the endpoints, counted: over all providers, and by each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Counts:
    """What became of the endpoints: endpoints = answered + not_found + failed + not_asked.

    Of a chain, an endpoint is answered if anyone knows it; else failed if anyone failed; else not_found if anyone was asked. Cached and asked are
    sums. Of one provider the same numbers count those endpoints that it was to be asked about.

    Attributes:
        endpoints: rows.
        cached: answers of paid providers that were there already.
        asked: endpoints that a paid provider was asked about now, the one at which it stopped included.
        answered: endpoints that are known.
        not_found: endpoints that are not known.
        failed: endpoints without an answer this time.
        not_asked: endpoints that nobody was asked about, for lack of a provider or because it stopped.
        stopped: why a provider stopped, if one did.
        by_provider: the same for each provider, in their order.
    """

    endpoints: int = 0
    cached: int = 0
    asked: int = 0
    answered: int = 0
    not_found: int = 0
    failed: int = 0
    not_asked: int = 0
    stopped: str | None = None
    by_provider: Mapping[str, "Counts"] = field(default_factory=dict, compare=False)

    @property
    def missing(self) -> int:
        """Of one provider: the answers that it failed to give, or was not asked for because it stopped; they are worth another run."""
        return self.failed + (self.not_asked if self.stopped else 0)
