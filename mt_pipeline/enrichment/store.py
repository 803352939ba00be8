"""The shared store of answers: one cache for all captures and processes, and one request in flight.

What to ask, and in which order, is not said here.

Answers are text (JSON) in a diskcache, keyed by provider, kind and endpoint. They stay until a newer one replaces them: how long one is good for is
decided when it is read, so a changed lifetime works at once. Failures are never kept.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import diskcache
from filelock import FileLock
from filelock import Timeout as LockTimeout

from mt_pipeline.enrichment.answers import Answer, Endpoint
from mt_pipeline.enrichment.provider import EnrichmentError, PaidProvider, ProviderStopped

logger = logging.getLogger(__name__)

LONGEST_TURN = 1800
"""Seconds to wait for one's turn. A turn is one request with its tries: minutes at most, so whoever holds it longer hangs."""

NEVER_FORGET = {
    "eviction_policy": "none",  # diskcache's default deletes what was stored first, at 1 GiB: these answers were paid for
    "cull_limit": 0,
    "size_limit": 2**62,
    "sqlite_synchronous": 2,  # FULL: an answer survives a power cut; at a few calls a second it costs nothing
}


class StoreError(EnrichmentError):
    """The store of answers cannot be used; the message names the file and the cure."""


class AnswerStore:
    """Answers of all providers, kept in a folder. Any number of processes may share it; an object is used by one thread."""

    def __init__(self, folder: Path, *, answer_days: float, not_found_days: float) -> None:
        """Open the store; it is made if it is not there.

        Args:
            folder: where the answers lie.
            answer_days: days for which a found answer is good.
            not_found_days: days for which a "not found" is good.

        Raises:
            StoreError: what lies there is damaged or cannot be opened.
        """
        self._file = folder / diskcache.core.DBNAME
        self._good_for = {True: timedelta(days=answer_days), False: timedelta(days=not_found_days)}
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._cache = diskcache.Cache(str(folder), **NEVER_FORGET)
        self._turn = FileLock(folder / "turn.lock", timeout=LONGEST_TURN, poll_interval=0.01)
        self._next = FileLock(folder / "next.lock", timeout=LONGEST_TURN, poll_interval=0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._cache.close()

    def get(self, provider: str, endpoint: Endpoint) -> Answer | None:
        """Return the answer of a provider, if there is one that is still good.

        Raises:
            StoreError: the store is damaged.
        """
        with self._errors():
            text = self._cache.get(_key(provider, endpoint))
        if text is None:
            return None
        try:
            answer = Answer.from_json(text)
        except (TypeError, ValueError):
            logger.warning("the kept answer for %r cannot be read; it will be asked for anew", endpoint.value)
            return None
        # abs: after a clock was set right, an answer "of next year" is as old as one of last year.
        return answer if abs(datetime.now(UTC) - answer.asked_at) < self._good_for[answer.found] else None

    def put(self, answer: Answer) -> None:
        """Keep an answer; it is on disk when this returns, and replaces an older one.

        Raises:
            StoreError: it cannot be written.
        """
        with self._errors():
            self._cache.set(_key(answer.provider, answer.endpoint), answer.to_json())

    def answer(self, endpoint: Endpoint, provider: PaidProvider) -> tuple[Answer, bool]:
        """Return the answer for an endpoint, asking the provider only if nobody did before.

        Returns:
            The answer, and whether the provider was asked for it now.

        Raises:
            EndpointFailed: the provider has no answer for this endpoint.
            ProviderStopped: the provider answers nobody, or another process does not end its turn.
            StoreError: the store cannot be used.
        """
        if kept := self.get(provider.name, endpoint):
            return kept, False
        with self._in_turn():
            # While we waited, another capture may have asked the same.
            if kept := self.get(provider.name, endpoint):
                return kept, False
            answer = provider.ask(endpoint)
            self.put(answer)
            return answer, True

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Hold the right to ask: one request in flight over all processes, and everybody gets a turn.

        Locks are polled, so who gives one back and wants it again at once would nearly always win. With two, it finds `next` held by
        whoever waited meanwhile.
        """
        try:
            with self._next:
                self._turn.acquire()
        except LockTimeout as error:
            raise ProviderStopped(
                f"{error.lock_file}: another run holds its turn to ask for {LONGEST_TURN // 60} minutes; end it and run again"
            ) from None
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, diskcache.Timeout, OSError) as error:
            reason = str(error) or "locked by another process"
            raise StoreError(f"{self._file}: the store of answers cannot be used ({reason}); make room or set the permissions right") from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self._file}: the store of answers is damaged ({error}); end all runs, move its folder aside and run again: all is asked anew"
            ) from None


def _key(provider: str, endpoint: Endpoint) -> str:
    return f"{provider}/{endpoint.kind}/{endpoint.value}"
