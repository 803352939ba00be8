"""What a provider of answers must do, and the errors it may raise. The providers themselves live in modules of their own.

    EnrichmentError
    ├── EndpointFailed       this endpoint got no answer; go on with the next
    ├── ProviderStopped      nobody will get an answer now; ask no more
    └── StoreError           the store of answers cannot be used (store.py)

A provider is any object with `name` and `ask`:

- `name` is short, lower case, without `/` or `,`. It is kept with every answer and stands in the tables, so it never changes.
- `ask` answers about ONE endpoint. An endpoint is a public address or a name that someone may be asked about: private addresses and nonsense
  were taken out before. If it is of a kind that the provider knows nothing about, the answer is "not found".
- "I do not know this endpoint" is an answer, `found=False`: it is kept, and not asked again before its lifetime is over.
- Facts that the provider does not know are None, never '' or 0. Values of the wrong type are passed over, not passed on.
- It tries again by itself, bounded in number and time, where that can help. Then, for this endpoint alone: `EndpointFailed`. Nothing is kept, the
  endpoint stays unknown in this run and is asked in the next.
- What would fail for every other endpoint too (no permission, quota used up, server not there) is `ProviderStopped`, at once. Its message names
  the setting that cures it. The run goes on without answers.
- It waits for its own rate limit inside `ask`, shared by all processes. The caller makes sure that one `ask` at a time is under way.
- It keeps nothing: the store does. It takes its settings as arguments, and no secret of them is ever part of a message, a log line or a repr.
- Whatever a server sends, `ask` raises nothing but these errors (and what interrupts the program).

A complete one:

    class LabList:
        name = "lab"

        def ask(self, endpoint: Endpoint) -> Answer:
            tag = {"192.0.2.7": "kettle"}.get(endpoint.value)
            return Answer(endpoint, self.name, found=tag is not None, asked_at=datetime.now(UTC), facts=Facts(app_tag=tag))
"""

from typing import Protocol

from mt_pipeline.enrichment.answers import Answer, Endpoint


class EnrichmentError(Exception):
    """Whatever goes wrong in this room; the message is one sentence for the user."""


class EndpointFailed(EnrichmentError):
    """One endpoint got no answer, after all tries: it stays unknown and is asked again in the next run."""


class ProviderStopped(EnrichmentError):
    """The provider will answer nobody now: ask no more. The message names the setting that cures it."""


class Provider(Protocol):
    """A source of answers; the module's docstring says what it must do."""

    @property
    def name(self) -> str:
        """Name that is kept with every answer."""
        ...

    def ask(self, endpoint: Endpoint) -> Answer:
        """Ask about one endpoint.

        Raises:
            EndpointFailed: no answer for this endpoint.
            ProviderStopped: no answer for any endpoint.
        """
        ...
