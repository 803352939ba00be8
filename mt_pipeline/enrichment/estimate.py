"""What it would cost to ask about the endpoints of captures, told without asking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.enrich import BATCH, Chain, most_useful_first
from mt_pipeline.enrichment.lookup import (
    ANSWERED,
    NOT_ASKED,
    NOT_FOUND,
    STATES,
    Asking,
    AskingFree,
    Said,
)
from mt_pipeline.enrichment.models import Endpoint
from mt_pipeline.enrichment.provider import FreeProvider, Provider


@dataclass(frozen=True)
class Calls:
    """What one paid provider would be asked.

    Attributes:
        cached: endpoints with an answer in the store that is still good.
        calls: endpoints that it would be asked about; tries after an error come on top.
    """

    cached: int
    calls: int


@dataclass(frozen=True)
class Cost:
    """What it would cost to ask.

    Attributes:
        endpoints: distinct ones.
        by_provider: the paid providers, in their order.
    """

    endpoints: int
    by_provider: Mapping[str, Calls]


def cost(
    endpoints: Sequence[Path], *, providers: Sequence[Provider], store: AnswerStore | None
) -> Cost:
    """Count what `enrich` would ask; no request is sent, and nothing is written.

    A provider counts the endpoints of which something would be unknown after those before it. What one would say that is not in the store, nobody
    knows: then all is taken for unknown, so a second paid provider may be asked less than this says.

    Args:
        endpoints: files as `enrich` takes them.
        providers: whom to ask, in order.
        store: the answers so far; None if there are none.

    Raises:
        StoreError: the store cannot be read.
    """
    table = most_useful_first(endpoints)
    askings = [
        AskingFree(provider) if isinstance(provider, FreeProvider) else _Counting(provider, store)
        for provider in providers
    ]
    chain = Chain(askings, table.num_rows, None)
    for batch in table.to_batches(max_chunksize=BATCH):
        chain.answers(batch)
    paid = {asking.name: asking.counts() for asking in askings if isinstance(asking, _Counting)}
    return Cost(
        table.num_rows,
        {
            name: Calls(cached=counts.cached, calls=counts.not_asked)
            for name, counts in paid.items()
        },
    )


class _Counting(Asking):
    """Stands for a paid provider: says what is in the store and still good, and leaves the rest unasked."""

    def __init__(self, provider: Provider, store: AnswerStore | None) -> None:
        super().__init__(provider.name, provider.kinds)
        self._store = store

    def said(self, endpoints: pa.RecordBatch, tell: Callable[[int], None]) -> Said:
        """See `Asking.said`."""
        wanted = [
            Endpoint(*one)
            for one in zip(
                endpoints["kind"].to_pylist(), endpoints["endpoint"].to_pylist(), strict=True
            )
        ]
        known = (
            [None] * len(wanted)
            if self._store is None
            else self._store.histories(self.name, wanted)
        )
        answers = [
            one.newest if one and self._store and self._store.is_good(one.newest) else None
            for one in known
        ]
        states = [
            NOT_ASKED if answer is None else ANSWERED if answer.found else NOT_FOUND
            for answer in answers
        ]
        places = np.array([STATES.index(state) for state in states], np.int8)
        self._count(places)
        self._n["cached"] += len(states) - states.count(NOT_ASKED)
        tell(len(states))
        return Said(places, [None if answer is None else answer.facts for answer in answers])
