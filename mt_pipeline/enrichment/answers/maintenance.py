"""What lies in the store of answers: counted by provider, checked for damage, and what of it nobody needs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from mt_pipeline.enrichment.answers import history, repair
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore

_AT_ONCE = 1000


@dataclass
class Kept:
    """The answers of one provider.

    Attributes:
        answers: endpoints with an answer.
        found: those that it knew.
        not_found: those that it did not know.
        expired: those whose newest answer is too old.
        earlier: older answers of them, which said something else.
        oldest: when the first of all was given.
        newest: when the last of all was given, or confirmed.
    """

    oldest: datetime
    newest: datetime
    answers: int = 0
    found: int = 0
    not_found: int = 0
    expired: int = 0
    earlier: int = 0

    def add(self, known: History, *, good: bool) -> None:
        """Count what is known of an endpoint."""
        self.answers += 1
        self.found += known.newest.found
        self.not_found += not known.newest.found
        self.expired += not good
        self.earlier += len(known.entries) - 1
        self.oldest = min(self.oldest, *(entry.asked_at for entry in known.entries))
        self.newest = max(self.newest, known.newest.asked_at)


def summary(store: AnswerStore) -> tuple[dict[str, Kept], int]:
    """Count the answers of each provider, and the records that cannot be read.

    Raises:
        StoreError: the store cannot be read.
    """
    kept: dict[str, Kept] = {}
    unreadable = 0
    for key, text in store.records.everything():
        known = history.read(text, key)
        if known is None:
            unreadable += 1
        else:
            of_one = kept.setdefault(
                known.provider, Kept(known.newest.asked_at, known.newest.asked_at)
            )
            of_one.add(known, good=store.is_good(known.newest))
    return dict(sorted(kept.items())), unreadable


def faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the file of a store and with its records, a sentence each; nothing is mended or written."""
    file = folder / repair.FILE
    try:
        file = repair.folder_in_use(folder) / repair.FILE
        with closing(repair.reader(file)) as connection:
            yield from (
                f"{file}: {said}"
                for (said,) in connection.execute("PRAGMA integrity_check")
                if said != "ok"
            )
            for key, text in connection.execute("SELECT key, value FROM Cache"):
                if history.read(text if isinstance(text, str) else "", key) is None:
                    yield f"{file}: the record {key!r} cannot be read; its endpoint will be asked about anew"
    except (sqlite3.Error, OSError) as error:
        yield f"{file}: {error}"


def old(store: AnswerStore, before: datetime) -> int:
    """Count the answers that `prune` would drop.

    Raises:
        StoreError: the store cannot be read.
    """
    histories = (
        known for key, text in store.records.everything() if (known := history.read(text, key))
    )
    return sum(len(known.entries) - len(known.since(before).entries) for known in histories)


def prune(store: AnswerStore, before: datetime) -> int:
    """Drop answers that were last given before a moment and are not the newest of their endpoint, and give their disk back.

    Returns:
        How many.

    Raises:
        StoreError: the store cannot be written.
    """
    dropped = 0

    def pruned(texts: history.Texts) -> history.Texts:
        nonlocal dropped
        kept = {
            key: (known, known.since(before))
            for key, text in texts.items()
            if (known := history.read(text, key))
        }
        dropped += sum(len(known.entries) - len(left.entries) for known, left in kept.values())
        return {key: left.to_json() for key, (known, left) in kept.items() if left != known}

    records = store.records.everything()
    while some := list(islice(records, _AT_ONCE)):
        old_ones = [
            key
            for key, text in some
            if (known := history.read(text, key)) and known.since(before) != known
        ]
        if old_ones:
            store.records.change(old_ones, pruned)
    store.records.shrink()
    return dropped
