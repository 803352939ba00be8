"""The shared store of answers: one cache for all captures and processes, and one request in flight.

What to ask, and in which order, is not said here; nor how the file is kept (`records.py`), nor what a record says (`history.py`).

All that a provider ever said of an endpoint stays. How long its newest answer is good for is decided when it is read, so a changed lifetime works at
once. Failures are never kept.
"""

import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock
from filelock import Timeout as LockTimeout

from mt_pipeline.enrichment.answers import history, usage
from mt_pipeline.enrichment.answers.database import Records, StoreError
from mt_pipeline.enrichment.answers.history import History, key_of
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.models import Answer, Endpoint
from mt_pipeline.enrichment.provider import PaidProvider, ProviderStopped

__all__ = ["AnswerStore", "StoreError"]

logger = logging.getLogger(__name__)

LONGEST_TURN = 1800
"""Seconds to wait for one's turn. A turn is one request with its tries: minutes at most, so whoever holds it longer hangs."""

SHORTER_BY_UP_TO = 0.1
"""Part of its lifetime that an answer may lose, each another: what was asked in one hour is not to be asked anew in one hour."""


class AnswerStore:
    """Answers of all providers, kept in a folder. Any number of processes may share it; an object is used by one thread."""

    def __init__(self, folder: Path, *, answer_days: float, not_found_days: float) -> None:
        """Open the store; it is made if it is not there.

        Args:
            folder: where the answers lie.
            answer_days: days for which a found answer is good, at most.
            not_found_days: days for which a "not found" is good, at most.

        Raises:
            StoreError: it cannot be opened.
        """
        self._folder = folder
        self._good_for = {True: timedelta(days=answer_days), False: timedelta(days=not_found_days)}
        self._tally: dict[str, Tally] = {}
        self.records = Records(folder)
        self._turn = FileLock(folder / "turn.lock", timeout=LONGEST_TURN, poll_interval=0.01)
        self._next = FileLock(folder / "next.lock", timeout=LONGEST_TURN, poll_interval=0.01)

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
        """Add up hits and misses, and close the file."""
        try:
            if self._tally:
                with self.records.writing():
                    usage.add(self._folder, self._tally)
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
        known = self._history(provider, endpoint)
        return known.newest if known else None

    def as_of(self, provider: str, endpoint: Endpoint, moment: datetime) -> Answer | None:
        """Return what a provider had said by a moment: the last of its answers that was first given then or before.

        Raises:
            StoreError: the store cannot be read.
        """
        known = self._history(provider, endpoint)
        return known.as_of(moment) if known else None

    def histories(self, provider: str, endpoints: Sequence[Endpoint]) -> list[History | None]:
        """Return all that a provider said of each endpoint, in their order.

        Raises:
            StoreError: the store cannot be read.
        """
        keys = [key_of(provider, endpoint) for endpoint in endpoints]
        texts = self.records.read(keys)
        return [self._read(key, texts.get(key)) for key in keys]

    def is_good(self, answer: Answer) -> bool:
        """Say whether an answer is young enough."""
        seed = f"{key_of(answer.provider, answer.endpoint)} {answer.asked_at.isoformat()}".encode(
            errors="replace"
        )
        part = 1 - SHORTER_BY_UP_TO * zlib.crc32(seed) / 2**32
        # abs: after a clock was set right, an answer "of next year" is as old as one of last year.
        return abs(datetime.now(UTC) - answer.asked_at) < part * self._good_for[answer.found]

    def put(self, answer: Answer) -> None:
        """Keep an answer; it is on disk when this returns, and is now the newest.

        Raises:
            StoreError: it cannot be written.
        """
        new = History.of(answer)

        def added(before: history.Texts) -> history.Texts:
            known = history.read(before.get(new.key), new.key)
            return {new.key: (known.with_answer(answer) if known else new).to_json()}

        self.records.change([new.key], added)

    def take_in(self, histories: Iterable[History]) -> None:
        """Put what was kept elsewhere to what is kept here, in the order of time.

        Raises:
            StoreError: it cannot be written.
        """
        news = list(histories)
        self.records.change(
            [new.key for new in news], lambda before: history.taken_in(before, news)
        )

    def answer(self, endpoint: Endpoint, provider: PaidProvider) -> tuple[Answer, bool]:
        """Return the answer for an endpoint, asking the provider only if nobody did before.

        Returns:
            The answer, and whether the provider was asked for it now.

        Raises:
            EndpointFailed: the provider has no answer for this endpoint.
            ProviderStopped: the provider answers nobody, or another process does not end its turn.
            StoreError: the store cannot be used.
        """
        kept = self._good(provider.name, endpoint)
        if kept is None:
            with self._in_turn():
                self.records.follow()
                # While we waited, another capture may have asked the same.
                kept = self._good(provider.name, endpoint)
                if kept is None:
                    self.count(provider.name, Tally(misses=1))
                    answer = provider.ask(endpoint)
                    self.put(answer)
                    return answer, True
        self.count(provider.name, Tally(hits=1, calls_saved=1))
        return kept, False

    def count(self, provider: str, news: Tally) -> None:
        """Count what became of look-ups; the store's own tally is brought up to date when it is closed."""
        self._tally[provider] = self._tally.get(provider, Tally()) + news

    def tallies(self) -> dict[str, Tally]:
        """Return what became of the look-ups of each provider so far, in all processes that have closed the store."""
        return usage.read(self._folder)

    @staticmethod
    def _read(key: str, text: str | None) -> History | None:
        known = history.read(text, key)
        if text is not None and known is None:
            logger.warning("the kept answer for %r cannot be read; it will be asked for anew", key)
        return known

    def _history(self, provider: str, endpoint: Endpoint) -> History | None:
        [known] = self.histories(provider, [endpoint])
        return known

    def _good(self, provider: str, endpoint: Endpoint) -> Answer | None:
        answer = self.newest(provider, endpoint)
        return answer if answer and self.is_good(answer) else None

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
