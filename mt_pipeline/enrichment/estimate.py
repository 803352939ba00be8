"""The number of calls that the endpoints of captures would cost, counted without asking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.chain import Chain
from mt_pipeline.enrichment.enrich import BATCH, most_useful_first, read_endpoints
from mt_pipeline.enrichment.lookup import (
    NOT_ASKED,
    STATES,
    FreeLookup,
    Lookup,
    Outcome,
    endpoints_of,
)
from mt_pipeline.enrichment.models import Answer, Endpoint
from mt_pipeline.enrichment.paid_lookup import state_of
from mt_pipeline.enrichment.provider import FreeProvider, Provider


@dataclass(frozen=True)
class Calls:
    """The calls to one paid provider.

    Attributes:
        cached: endpoints with an answer in the store that is still good.
        calls: endpoints to ask about; retries come on top.
    """

    cached: int
    calls: int


@dataclass(frozen=True)
class Cost:
    """The cost of enriching captures.

    Attributes:
        endpoints: count of distinct endpoints.
        by_provider: the calls to each paid provider, in the order of the providers.
    """

    endpoints: int
    by_provider: Mapping[str, Calls]


def cost(
    endpoints: Sequence[Path],
    *,
    providers: Sequence[Provider],
    store: AnswerStore | None,
    all_names: bool = False,
) -> Cost:
    """Count the calls that `enrich` would make; nothing is sent or written.

    A provider counts those endpoints of which something is unknown after the providers before it.
    An endpoint without a stored answer counts as unknown. The real answer may tell more, so a
    second paid provider may get fewer calls than this.

    Args:
        endpoints: files as `enrich` takes them.
        providers: in the order in which they are asked.
        store: the answers so far; None if there are none.
        all_names: whether paid providers would be asked about every name.

    Raises:
        StoreError: the store cannot be read.
    """
    table = most_useful_first(read_endpoints(endpoints), all_names=all_names)
    lookups = [
        FreeLookup(provider)
        if isinstance(provider, FreeProvider)
        else _StoredLookup(provider, store)
        for provider in providers
    ]
    chain = Chain(lookups, table.num_rows, None)
    for batch in table.to_batches(max_chunksize=BATCH):
        chain.answers(batch)
    paid = {lookup.name: lookup.counts() for lookup in lookups if isinstance(lookup, _StoredLookup)}
    calls = {
        name: Calls(cached=counts.cached, calls=counts.not_asked) for name, counts in paid.items()
    }
    return Cost(table.num_rows, calls)


class _StoredLookup(Lookup):
    """Stands in for a paid provider: uses good answers of the store, and asks nothing."""

    def __init__(self, provider: Provider, store: AnswerStore | None) -> None:
        super().__init__(provider.name, provider.kinds)
        self._store = store

    def look_up(self, endpoints: pa.RecordBatch, progress: Callable[[int], None]) -> Outcome:
        """See `Lookup.look_up`."""
        answers = self._good_answers(endpoints_of(endpoints))
        names = [NOT_ASKED if answer is None else state_of(answer) for answer in answers]
        states = np.array([STATES.index(name) for name in names], np.int8)
        self._count(states)
        self._numbers["cached"] += len(names) - names.count(NOT_ASKED)
        progress(len(names))
        return Outcome(states, [None if answer is None else answer.facts for answer in answers])

    def _good_answers(self, endpoints: Sequence[Endpoint]) -> list[Answer | None]:
        if self._store is None:
            return [None] * len(endpoints)
        newest = [
            history.newest if history else None
            for history in self._store.histories(self.name, endpoints)
        ]
        return [answer if answer and self._store.is_good(answer) else None for answer in newest]
