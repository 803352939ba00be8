"""The shared store of answers: for all captures and processes, with one request in flight.

The records are in `records.py`, their content in `history.py`, the turns in `turns.py`. What to
ask, and in which order, is decided in `lookup.py`.

Every answer of a provider stays. How long the newest one is good for is decided when it is read,
so a changed lifetime takes effect at once. Failures are never stored.
"""

import logging
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from mt_pipeline.enrichment.answers import history
from mt_pipeline.enrichment.answers.database import FileRecords
from mt_pipeline.enrichment.answers.history import History, key_of
from mt_pipeline.enrichment.answers.records import Records, StoreError
from mt_pipeline.enrichment.answers.turns import FileTurns, PostgresTurns, Turns
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.models import Answer, Endpoint
from mt_pipeline.enrichment.provider import PaidProvider
from mt_pipeline.state.postgres import Postgres

__all__ = ["AnswerStore", "StoreError"]

logger = logging.getLogger(__name__)

SHORTER_BY_UP_TO = 0.1
"""Largest part of its lifetime that an answer loses, at random: answers of one hour must not all
expire within one hour."""


class AnswerStore:
    """The answers of all providers.

    Any number of processes may share them. An object is used by one thread.
    """

    def __init__(
        self, place: Path | Postgres, *, answer_days: float, not_found_days: float
    ) -> None:
        """Open the store; create it if it does not exist.

        Args:
            place: folder of the store, or Postgres.
            answer_days: days for which an answer is good, at most.
            not_found_days: days for which a "not found" is good, at most.

        Raises:
            StoreError: it cannot be opened.
        """
        self._good_for = {True: timedelta(days=answer_days), False: timedelta(days=not_found_days)}
        self._tally: dict[str, Tally] = {}
        self.records, self._turns = _opened(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Add hits and misses to the totals, and close the file."""
        try:
            if self._tally:
                self.records.add_usage(self._tally)
        except (StoreError, OSError) as error:
            logger.warning("hits and misses of this run are not counted: %s", error)
        finally:
            self._tally = {}
            self.records.close()

    def get(self, provider: str, endpoint: Endpoint) -> Answer | None:
        """Return the newest answer of a provider if it is still good.

        Raises:
            StoreError: the store cannot be read.
        """
        answer = self._good(provider, endpoint)
        self.count(provider, Tally(hits=1) if answer else Tally(misses=1))
        return answer

    def newest(self, provider: str, endpoint: Endpoint) -> Answer | None:
        """Return the newest answer of a provider, of any age.

        Raises:
            StoreError: the store cannot be read.
        """
        stored = self._history(provider, endpoint)
        return stored.newest if stored else None

    def as_of(self, provider: str, endpoint: Endpoint, moment: datetime) -> Answer | None:
        """Return the last answer of a provider that was first given at a moment or before.

        Raises:
            StoreError: the store cannot be read.
        """
        stored = self._history(provider, endpoint)
        return stored.as_of(moment) if stored else None

    def histories(self, provider: str, endpoints: Sequence[Endpoint]) -> list[History | None]:
        """Return the history of each endpoint, in their order; None for one without answers.

        Raises:
            StoreError: the store cannot be read.
        """
        keys = [key_of(provider, endpoint) for endpoint in endpoints]
        texts = self.records.read(keys)
        return [self._read(key, texts.get(key)) for key in keys]

    def is_good(self, answer: Answer) -> bool:
        """Return whether an answer is young enough to be used."""
        seed = f"{key_of(answer.provider, answer.endpoint)} {answer.asked_at.isoformat()}".encode(
            errors="replace"
        )
        part = 1 - SHORTER_BY_UP_TO * zlib.crc32(seed) / 2**32
        # abs: once the clock is corrected, an answer of next year is as old as one of last year.
        return abs(datetime.now(UTC) - answer.asked_at) < part * self._good_for[answer.found]

    def put(self, answer: Answer) -> None:
        """Store an answer as the newest; it is on disk when this returns.

        Raises:
            StoreError: it cannot be written.
        """
        new = History.of(answer)

        def added(before: history.Texts) -> history.Texts:
            stored = history.read(before.get(new.key), new.key)
            return {new.key: (stored.with_answer(answer) if stored else new).to_json()}

        self.records.change([new.key], added)

    def take_in(self, histories: Iterable[History]) -> None:
        """Merge histories of another store into this one, sorted by time.

        Raises:
            StoreError: it cannot be written.
        """
        news = list(histories)
        self.records.change(
            [new.key for new in news], lambda before: history.merged_records(before, news)
        )

    def answer(self, endpoint: Endpoint, provider: PaidProvider) -> tuple[Answer, bool]:
        """Return the answer for an endpoint; ask the provider only without a good stored answer.

        Returns:
            The answer, and whether the provider was asked for it now.

        Raises:
            EndpointFailed: the provider has no answer for this endpoint.
            ProviderStopped: the provider answers no request, or another process hangs in its turn.
            StoreError: the store cannot be used.
        """
        stored = self._good(provider.name, endpoint)
        if stored is None:
            with self._turns.taken():
                self.records.reopen()
                # Another process may have asked the same while this one waited.
                stored = self._good(provider.name, endpoint)
                if stored is None:
                    self.count(provider.name, Tally(misses=1))
                    answer = provider.ask(endpoint)
                    self.put(answer)
                    return answer, True
        self.count(provider.name, Tally(hits=1, calls_saved=1))
        return stored, False

    def count(self, provider: str, news: Tally) -> None:
        """Count look-ups; the totals on disk are updated when the store is closed."""
        self._tally[provider] = self._tally.get(provider, Tally()) + news

    def tallies(self) -> dict[str, Tally]:
        """Return the look-ups of each provider, of all processes that have closed the store."""
        return self.records.usage()

    @staticmethod
    def _read(key: str, text: str | None) -> History | None:
        stored = history.read(text, key)
        if text is not None and stored is None:
            logger.warning("the stored answer for %r cannot be read; it will be asked anew", key)
        return stored

    def _history(self, provider: str, endpoint: Endpoint) -> History | None:
        [stored] = self.histories(provider, [endpoint])
        return stored

    def _good(self, provider: str, endpoint: Endpoint) -> Answer | None:
        answer = self.newest(provider, endpoint)
        return answer if answer and self.is_good(answer) else None


def _opened(place: Path | Postgres) -> tuple[Records, Turns]:
    if isinstance(place, Path):
        return FileRecords(place), FileTurns(place)
    from mt_pipeline.enrichment.answers.postgres_records import PostgresRecords

    return PostgresRecords(place), PostgresTurns(place)
