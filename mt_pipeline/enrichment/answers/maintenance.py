"""Count the stored answers by provider, check their file, and delete old answers."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from mt_pipeline.enrichment.answers import history, repair
from mt_pipeline.enrichment.answers.files import FILE, folder_in_use
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore

_BATCH = 1000


@dataclass
class Kept:
    """The answers of one provider.

    Attributes:
        answers: endpoints with an answer.
        found: endpoints that the provider knows.
        not_found: endpoints that the provider does not know.
        expired: endpoints whose newest answer is too old.
        earlier: older answers, which differ from the next newer one.
        oldest: when the first of all answers was given, in UTC.
        newest: when the last of all answers was given or confirmed, in UTC.
    """

    oldest: datetime
    newest: datetime
    answers: int = 0
    found: int = 0
    not_found: int = 0
    expired: int = 0
    earlier: int = 0

    def add(self, history: History, *, good: bool) -> None:
        """Count the history of an endpoint."""
        self.answers += 1
        self.found += history.newest.found
        self.not_found += not history.newest.found
        self.expired += not good
        self.earlier += len(history.entries) - 1
        self.oldest = min(self.oldest, *(entry.asked_at for entry in history.entries))
        self.newest = max(self.newest, history.newest.asked_at)


def summary(store: AnswerStore) -> tuple[dict[str, Kept], int]:
    """Count the answers of each provider, and the records that cannot be read.

    Raises:
        StoreError: the store cannot be read.
    """
    providers: dict[str, Kept] = {}
    unreadable = 0
    for key, text in store.records.items():
        stored = history.read(text, key)
        if stored is None:
            unreadable += 1
        else:
            newest = stored.newest
            new = Kept(newest.asked_at, newest.asked_at)
            providers.setdefault(stored.provider, new).add(stored, good=store.is_good(newest))
    return dict(sorted(providers.items())), unreadable


def faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the file of a store and its records, a sentence each.

    Nothing is repaired or written.
    """
    file = folder / FILE
    try:
        file = folder_in_use(folder) / FILE
        yield from (f"{file}: {fault}" for fault in repair.faults(file))
    except (sqlite3.Error, OSError) as error:
        yield f"{file}: {error}"


def unreadable(store: AnswerStore) -> Iterator[str]:
    """Yield which records cannot be read, a sentence each.

    Raises:
        StoreError: the store cannot be read.
    """
    for key, text in store.records.items():
        if history.read(text, key) is None:
            yield f"{store.records}: the record {key!r} cannot be read; it will be asked anew"


def old(store: AnswerStore, before: datetime) -> int:
    """Count the answers that `prune` would delete.

    Raises:
        StoreError: the store cannot be read.
    """
    return sum(_pruned(key, text, before)[1] for key, text in store.records.items())


def prune(store: AnswerStore, before: datetime) -> int:
    """Delete answers last given before a moment, and return their disk space to the system.

    The newest answer of each endpoint stays.

    Returns:
        Number of answers deleted.

    Raises:
        StoreError: the store cannot be written.
    """
    deleted = 0

    def pruned(texts: history.Texts) -> history.Texts:
        nonlocal deleted
        changes = {key: _pruned(key, text, before) for key, text in texts.items()}
        deleted += sum(count for _, count in changes.values())
        return {key: text for key, (text, count) in changes.items() if count}

    records = store.records.items()
    while batch := list(islice(records, _BATCH)):
        keys = [key for key, text in batch if _pruned(key, text, before)[1]]
        if keys:
            store.records.change(keys, pruned)
    store.records.shrink()
    return deleted


def _pruned(key: str, text: str, before: datetime) -> tuple[str, int]:
    """Return a record without old answers, and how many those are."""
    stored = history.read(text, key)
    left = stored and stored.since(before)
    if stored is None or left is None or left == stored:
        return text, 0
    return left.to_json(), len(stored.entries) - len(left.entries)
