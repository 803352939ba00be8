"""What `mt-pipeline cache` does with the store of answers, while runs go on."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from mt_pipeline.cli.answers_summary import Summary
from mt_pipeline.enrichment.answers import maintenance, transfer
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline import providers
from mt_pipeline.settings import Settings
from mt_pipeline.state.postgres import Postgres

Echo = Callable[[str], None]

NAMED = 20
"""How many faults, or skipped lines or files, are named; the others are counted."""

_BATCH = 1000


class CacheError(CommandError):
    """The store cannot be used as the command asks; the message is one sentence."""


def show(settings: Settings) -> Summary:
    """Return what the store has.

    Raises:
        CacheError: it cannot be read.
    """
    place = _place(settings)
    if _is_missing(place):
        return Summary(place)
    with _opened(settings) as store:
        answers, unreadable = maintenance.summary(store)
        tallies = store.tallies()
        size = _size(place, store)
    by_provider = {
        name: (answers.get(name), tallies.get(name, Tally()))
        for name in sorted({*answers, *tallies})
    }
    return Summary(place, size, unreadable, by_provider)


def check(settings: Settings, *, echo: Echo) -> bool:
    """Print what is damaged in the store; return whether nothing is."""
    place = _place(settings)
    count = 0
    for fault in () if _is_missing(place) else _faults(settings):
        count += 1
        if count <= NAMED:
            echo(fault)
    if count > NAMED:
        echo(f"… and {count - NAMED:,} more")
    if not count:
        echo(f"{place}: all is well")
    return not count


def export(settings: Settings, output: Path) -> str:
    """Write all answers to a file, and return a line with their number.

    Raises:
        CacheError: the file cannot be written, or exists already.
    """
    place = _place(settings)
    if _is_missing(place):
        raise CacheError(f"no answers are stored yet in {place}")
    with _opened(settings) as store:
        return f"{transfer.export(store, output):,} answers in {output}"


def take_in(settings: Settings, source: Path, *, echo: Echo) -> tuple[str, bool]:
    """Import the answers of a file, or of the cache folder of MT_ProcessPKTs.

    What cannot be read is named and skipped.

    Returns:
        A line with the numbers, and whether everything could be read.

    Raises:
        CacheError: it is no such file or folder, or the store cannot be written.
    """
    skipped: Counter[bool] = Counter()  # by whether it was broken

    def readable() -> Iterator[History]:
        for item in transfer.read(source):
            if isinstance(item, History):
                yield item
                continue
            skipped[item.broken] += 1
            if skipped[item.broken] <= NAMED:
                echo(f"{item.what}: {item.why}")

    count = 0
    with _opened(settings) as store:
        histories = readable()
        while batch := list(islice(histories, _BATCH)):
            store.take_in(batch)
            count += len(batch)
    line = f"{count:,} answers taken in"
    reasons = {True: "broken", False: "that nobody is asked about"}
    details = [f"{skipped[broken]:,} {reasons[broken]}" for broken in reasons if skipped[broken]]
    return f"{line}; passed over: {', '.join(details)}" if details else line, not skipped[True]


def count_old(settings: Settings, *, days: float) -> int:
    """Count the answers that `prune` would delete.

    Raises:
        CacheError: the store cannot be read.
    """
    if _is_missing(_place(settings)):
        return 0
    with _opened(settings) as store:
        return maintenance.old(store, _days_ago(days))


def prune(settings: Settings, *, days: float) -> str:
    """Delete answers that are older and not the newest of their endpoint.

    Returns:
        A line with the numbers.

    Raises:
        CacheError: the store cannot be written, or the disk has no room to rewrite it.
    """
    with _opened(settings) as store:
        size = store.records.size()
        deleted = maintenance.prune(store, _days_ago(days))
        freed = max(0, size - store.records.size())
    return f"{deleted:,} answers deleted, {freed:,} bytes given back"


def _place(settings: Settings) -> Path | Postgres:
    """Return where the store is."""
    return providers.answers_place(settings.options())


def _is_missing(place: Path | Postgres) -> bool:
    """Return whether there is no folder yet; a command that only reads must not make it."""
    return isinstance(place, Path) and not place.exists()


def _faults(settings: Settings) -> Iterator[str]:
    place = _place(settings)
    if isinstance(place, Path):
        yield from maintenance.faults(place)
        return
    with _opened(settings) as store:
        yield from maintenance.unreadable(store)


@contextmanager
def _opened(settings: Settings) -> Iterator[AnswerStore]:
    try:
        with providers.store(settings.options()) as store:
            yield store
    except EnrichmentError as error:
        raise CacheError(str(error)) from None
    except OSError as error:
        place = error.filename or _place(settings)
        raise CacheError(f"{place}: {error.strerror or error}") from None


def _days_ago(days: float) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(days=days)
    except (OverflowError, ValueError):
        raise CacheError(f"{days:g} days are no age that an answer can have") from None


def _size(place: Path | Postgres, store: AnswerStore) -> int:
    """Return the bytes of the store, and of all files beside it."""
    if not isinstance(place, Path):
        return store.records.size()
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
