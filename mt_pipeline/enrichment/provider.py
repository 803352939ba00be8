"""The contract of a provider of answers, and the errors it may raise. Providers are other modules.

    EnrichmentError
    ├── EndpointFailed       this endpoint got no answer; go on with the next
    ├── ProviderStopped      no endpoint gets an answer now; stop asking
    │   └── BudgetSpent      the user's budget of calls is spent; the rest is pending
    ├── ProviderUnusable     it cannot start: a setting or a file is wrong
    └── StoreError           the store of answers cannot be used (answers/database.py)

A provider is any object with `name`, `kinds` and ONE of two methods. MT_ENRICHMENT lists providers
in the order in which they are asked. Each is asked about the endpoints of which something is still
unknown. A later provider never changes a fact of an earlier one (`precedence.py`).

- `name` is short, lower case, without `/` or `,`. It is stored with every answer and appears in the
  tables, so it never changes.
- `kinds` is what it knows: addresses, names or both. It is never asked about others.
- `close()`, if it has one, is called at the end of the run.

`look_up(kind, endpoints)`, if asking is free (`FreeProvider`): a file, a table, a list.
- It takes any number of endpoints at once, often tens of thousands. It returns as many facts in
  their order, and None where it does not know the endpoint. One Facts object may serve many
  endpoints. A million should take seconds.
- Nothing is stored, and nothing waits: runs look up at the same time. Each run has an object of its
  own and uses it in one thread.
- If it raises an exception, the run continues without it and reports that.

`ask(endpoint)`, if asking costs money, a quota, or load on a server (`PaidProvider`).
- It answers about ONE endpoint per call; the most useful endpoints come first. `answers/store.py`
  stores its answers. The store also makes sure that over all processes ONE call is in flight, and
  that no endpoint is asked about again while its answer is good. The provider stores nothing.
- "I do not know this endpoint" is an answer, `found=False`. It is stored, and not asked again while
  it is good.
- It retries by itself, bounded in number and time, where that can help. If no try succeeds, it
  raises `EndpointFailed` for this endpoint. Nothing is stored, the endpoint stays unknown in this
  run, and the next run asks again.
- What would fail for every other endpoint too (no permission, quota used up, server down) is
  `ProviderStopped`, at once. Its message names the setting that cures it. The run continues without
  the provider.
- It waits for its own rate limit inside `ask`, shared by all processes.
- Whatever a server sends, `ask` raises only these errors (and those that interrupt the program).

Both:
- An endpoint is a public address or a name that a provider may see. Private addresses and invalid
  names were removed before.
- Unknown facts are None, never '' or 0. Values of the wrong type are ignored, not passed on.
- It takes its settings as arguments. None of their secrets ever appears in a message, a log line or
  a repr.
- What can never work, such as a missing or damaged file, is `ProviderUnusable` when the object is
  made. Making it is quick and sends no request: every command does it, so that no run fails
  halfway.

Providers of other packages are loaded by an entry point (`plugins.py`).
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mt_pipeline.enrichment.models import Answer, Endpoint, Facts, Kind


class EnrichmentError(Exception):
    """Base of the errors of this room; the message is one sentence for the user."""


class EndpointFailed(EnrichmentError):
    """One endpoint got no answer after all tries; the next run asks again."""


class ProviderStopped(EnrichmentError):
    """The provider answers no more now; the message names the setting that cures it."""


class BudgetSpent(ProviderStopped):
    """The budget of calls is spent; what was not asked about is pending until it is renewed."""


class ProviderUnusable(EnrichmentError):
    """The provider cannot start; the message names file or setting, reason and cure."""


class Provider(Protocol):
    """A source of answers, free or paid; the module's docstring is its contract."""

    @property
    def name(self) -> str:
        """Return the name that is stored with every answer."""
        ...

    @property
    def kinds(self) -> frozenset[Kind]:
        """Return the kinds of endpoints that it knows."""
        ...


@runtime_checkable
class FreeProvider(Provider, Protocol):
    """Answers about many endpoints at once, at no cost."""

    def look_up(self, kind: Kind, endpoints: Sequence[str]) -> Sequence[Facts | None]:
        """Return the facts of each endpoint, in their order; None for unknown ones."""
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
