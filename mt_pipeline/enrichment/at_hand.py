"""The answers that are at hand while the endpoints of a capture are still being found.

Nobody is asked. A paid provider is asked when all endpoints are known (`enrich.py`), so that its
budget goes to those with the most bytes.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import pyarrow as pa

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.chain import SCHEMA, Chain, lookup_of
from mt_pipeline.enrichment.provider import Provider


class AnswersAtHand:
    """Answers of free providers, and stored answers of paid ones, for a growing set of endpoints.

    Args:
        providers: in the order in which they are asked.
        store: the stored answers; required with a paid provider.
        as_of: use the answers that the store had at this time.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        store: AnswerStore | None,
        *,
        as_of: datetime | None = None,
    ) -> None:
        lookups = [
            lookup_of(provider, store, ask=False, as_of=as_of, counts_use=False)
            for provider in providers
        ]
        self._chain = Chain(lookups, None)
        self._known: set[tuple[str, str]] = set()
        self._answers = [SCHEMA.empty_table()]

    def __len__(self) -> int:
        """Return the number of endpoints so far."""
        return len(self._known)

    def add(self, kind: str, endpoints: Iterable[str]) -> None:
        """Look up endpoints of a kind, those that are new."""
        new = sorted({end for end in endpoints if (kind, end) not in self._known})
        if not new:
            return
        self._known.update((kind, end) for end in new)
        batch = pa.RecordBatch.from_pydict({"kind": [kind] * len(new), "endpoint": new})
        self._answers.append(pa.Table.from_batches([self._chain.answers(batch)]))

    def answers(self) -> pa.Table:
        """Return the answers so far, with the columns of `chain.SCHEMA`.

        Where one is `owed`, a provider will be asked about the endpoint.
        """
        self._answers = [pa.concat_tables(self._answers)]
        return self._answers[0]
