"""What a provider of answers must do, and the errors it may raise. The providers themselves live in modules of their own.

    EnrichmentError
    ├── EndpointFailed       this endpoint got no answer; go on with the next
    ├── ProviderStopped      nobody will get an answer now; ask no more
    │   └── BudgetSpent      because the calls that the user allows are spent: what is left is pending
    ├── ProviderUnusable     it cannot even start: a setting or a file is wrong
    └── StoreError           the store of answers cannot be used (store.py)

A provider is any object with `name`, `kinds` and ONE of two methods. Providers are asked in the order of MT_ENRICHMENT, each about those endpoints
of which something is still unknown; what one said, no later one changes (`known.py`).

- `name` is short, lower case, without `/` or `,`. It is kept with every answer and stands in the tables, so it never changes.
- `kinds` is what it knows: addresses, names or both. About others it is never asked.
- `close()`, if it has one, is called at the end of the run.

`look_up(kind, endpoints)`, if asking costs nothing (`FreeProvider`): a file, a table, a list.
- It takes any number of endpoints at once, tens of thousands mostly, and returns as many facts in their order; None where it does not know the
  endpoint. One Facts object may stand for many endpoints: a million should take seconds.
- Nothing is kept and nothing waits for a turn: as many look up at once as there are runs, each run with an object of its own, in one thread.
- If it raises something, the run goes on without it, and says so.

`ask(endpoint)`, if asking costs something: money, a quota, a server's patience (`PaidProvider`).
- It answers about ONE endpoint, a call each: the most useful are asked first. Its answers are kept, and over all captures and processes ONE is
  asked at a time, and each endpoint once in the lifetime of its answer: `store.py` sees to that. It keeps nothing itself.
- "I do not know this endpoint" is an answer, `found=False`: it is kept, and not asked again before its lifetime is over.
- It tries again by itself, bounded in number and time, where that can help. Then, for this endpoint alone: `EndpointFailed`. Nothing is kept, the
  endpoint stays unknown in this run and is asked in the next.
- What would fail for every other endpoint too (no permission, quota used up, server not there) is `ProviderStopped`, at once. Its message names
  the setting that cures it. The run goes on without.
- It waits for its own rate limit inside `ask`, shared by all processes.
- Whatever a server sends, `ask` raises nothing but these errors (and what interrupts the program).

Both:
- An endpoint is a public address or a name that someone may be asked about: private addresses and nonsense were taken out before.
- Facts that the provider does not know are None, never '' or 0. Values of the wrong type are passed over, not passed on.
- It takes its settings as arguments, and no secret of them is ever part of a message, a log line or a repr.
- What can never work, a file that is not there or damaged, is `ProviderUnusable` when the object is made, which must be quick and ask nobody:
  every command does it, so that no run fails in its middle.

Providers of other packages are found by an entry point (`registry.py`); the README walks through a complete one.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mt_pipeline.enrichment.models import Answer, Endpoint, Facts, Kind


class EnrichmentError(Exception):
    """Whatever goes wrong in this room; the message is one sentence for the user."""


class EndpointFailed(EnrichmentError):
    """One endpoint got no answer, after all tries: it stays unknown and is asked again in the next run."""


class ProviderStopped(EnrichmentError):
    """The provider will answer nobody now: ask no more. The message names the setting that cures it."""


class BudgetSpent(ProviderStopped):
    """The calls that the user allows are spent; what was not asked is pending until there are some again."""


class ProviderUnusable(EnrichmentError):
    """The provider cannot start. The message names the file or the setting, the reason and the cure."""


class Provider(Protocol):
    """A source of answers, free or paid; the module's docstring says what it must do."""

    @property
    def name(self) -> str:
        """Name that is kept with every answer."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it can be asked about."""
        ...


@runtime_checkable
class FreeProvider(Provider, Protocol):
    """Answers about many endpoints at once, at no cost."""

    def look_up(self, kind: Kind, endpoints: Sequence[str]) -> Sequence[Facts | None]:
        """Return what is known of each endpoint, in their order; None for those that are not known."""
        ...


@runtime_checkable
class PaidProvider(Provider, Protocol):
    """Answers about one endpoint a call."""

    def ask(self, endpoint: Endpoint) -> Answer:
        """Ask about one endpoint.

        Raises:
            EndpointFailed: no answer for this endpoint.
            ProviderStopped: no answer for any endpoint.
        """
        ...
