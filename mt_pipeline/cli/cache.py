"""`mt-pipeline cache`: what lies in the store of answers, and how answers get out of it, into it, and are pruned; while runs go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mt_pipeline.enrichment.answers import maintenance, transfer
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.maintenance import Kept
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline import providers
from mt_pipeline.settings import Settings

Say = Callable[[str], None]

NAMED = 20
"""So many faults, or lines or files that were passed over, are named; the others are counted."""

_HEADER = (
    "provider",
    "answers",
    "found",
    "not found",
    "expired",
    "earlier",
    "oldest",
    "newest",
    "hits",
    "misses",
    "calls saved",
)
_AT_ONCE = 1000


class CacheError(CommandError):
    """A command cannot do what it was told; the message is one sentence."""


@dataclass(frozen=True)
class Shown:
    """What lies in the store.

    Attributes:
        folder: where it lies.
        bytes: of its files.
        unreadable: records that cannot be read.
        providers: answers and look-ups of each provider.
    """

    folder: Path
    bytes: int = 0
    unreadable: int = 0
    providers: dict[str, tuple[Kept | None, Tally]] = field(default_factory=dict)

    def to_record(self) -> dict[str, object]:
        """Return it as JSON has it."""
        providers = {
            name: {**_numbers(kept), **asdict(tally)}
            for name, (kept, tally) in self.providers.items()
        }
        return {
            "folder": str(self.folder),
            "bytes": self.bytes,
            "unreadable": self.unreadable,
            "providers": providers,
        }

    def described(self) -> list[str]:
        """Say it, a line per provider and one for the files."""
        if not self.providers and not self.unreadable:
            return [f"no answers are kept yet in {self.folder}"]
        rows = [
            _HEADER,
            *(_row(name, kept, tally) for name, (kept, tally) in self.providers.items()),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        broken = (
            [f"{self.unreadable:,} records cannot be read: `mt-pipeline cache check` names them"]
            if self.unreadable
            else []
        )
        return [*lines, f"{self.bytes:,} bytes in {self.folder}", *broken]


def show(settings: Settings) -> Shown:
    """Look what lies in the store.

    Raises:
        CacheError: it cannot be read.
    """
    folder = providers.answers_folder(settings.options())
    if not _kept(settings):
        return Shown(folder)
    with _opened(settings) as store:
        kept, unreadable = maintenance.summary(store)
        tallies = store.tallies()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Shown(
        folder,
        size,
        unreadable,
        {name: (kept.get(name), tallies.get(name, Tally())) for name in sorted({*kept, *tallies})},
    )


def check(settings: Settings, *, say: Say) -> bool:
    """Say what is wrong with the store, and nothing else; True if nothing is."""
    folder = providers.answers_folder(settings.options())
    faults = 0
    for fault in maintenance.faults(folder) if _kept(settings) else ():
        faults += 1
        if faults <= NAMED:
            say(fault)
    if faults > NAMED:
        say(f"… and {faults - NAMED:,} more")
    if not faults:
        say(f"{folder}: all is well")
    return not faults


def export(settings: Settings, output: Path) -> str:
    """Write all answers to a file; returns a line that says so.

    Raises:
        CacheError: it cannot be written, or there is such a file.
    """
    if not _kept(settings):
        raise CacheError(
            f"no answers are kept yet in {providers.answers_folder(settings.options())}"
        )
    with _opened(settings) as store:
        return f"{transfer.export(store, output):,} answers in {output}"


def take_in(settings: Settings, source: Path, *, say: Say) -> tuple[str, bool]:
    """Put the answers of a file, or of the cache folder of MT_ProcessPKTs, into the store; what cannot be read is named and passed over.

    Returns:
        A line that says how it went, and whether all could be read.

    Raises:
        CacheError: it is no such file or folder, or the store cannot be written.
    """
    taken, private, broken = 0, 0, 0
    some: list[History] = []
    with _opened(settings) as store:
        for found in transfer.read(source):
            if isinstance(found, History):
                some.append(found)
                if len(some) == _AT_ONCE:
                    store.take_in(some)
                    taken, some = taken + len(some), []
                continue
            private, broken = private + (not found.broken), broken + found.broken
            if (broken if found.broken else private) <= NAMED:
                say(f"{found.what}: {found.why}")
        store.take_in(some)
    passed_over = [
        f"{number:,} {what}"
        for number, what in ((broken, "broken"), (private, "that nobody is asked about"))
        if number
    ]
    return f"{taken + len(some):,} answers taken in" + (
        f"; passed over: {', '.join(passed_over)}" if passed_over else ""
    ), not broken


def old(settings: Settings, *, days: float) -> int:
    """Count the answers that `prune` would drop.

    Raises:
        CacheError: the store cannot be read.
    """
    if not _kept(settings):
        return 0
    with _opened(settings) as store:
        return maintenance.old(store, _before(days))


def prune(settings: Settings, *, days: float) -> str:
    """Drop answers that are not the newest of their endpoint and older than so many days; returns a line that says how it went.

    Raises:
        CacheError: the store cannot be written, or there is no room to give disk back.
    """
    with _opened(settings) as store:
        before = _size(store)
        dropped = maintenance.prune(store, _before(days))
        return f"{dropped:,} answers dropped, {max(0, before - _size(store)):,} bytes given back"


def _kept(settings: Settings) -> bool:
    """Say whether there is a store: a look must not make one."""
    return providers.answers_folder(settings.options()).exists()


@contextmanager
def _opened(settings: Settings) -> Iterator[AnswerStore]:
    try:
        with providers.store(settings.options()) as store:
            yield store
    except EnrichmentError as error:
        raise CacheError(str(error)) from None
    except OSError as error:
        raise CacheError(
            f"{error.filename or providers.answers_folder(settings.options())}: {error.strerror or error}"
        ) from None


def _before(days: float) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(days=days)
    except (OverflowError, ValueError):
        raise CacheError(f"{days:g} days are no age that an answer can have") from None


def _size(store: AnswerStore) -> int:
    return sum(
        path.stat().st_size
        for path in store.records.file.parent.glob(f"{store.records.file.name}*")
    )


def _numbers(kept: Kept | None) -> dict[str, object]:
    return (
        {}
        if kept is None
        else {**asdict(kept), "oldest": kept.oldest.isoformat(), "newest": kept.newest.isoformat()}
    )


def _row(name: str, kept: Kept | None, tally: Tally) -> tuple[str, ...]:
    answers = ("0", *[""] * 6)
    if kept is not None:
        numbers = (kept.answers, kept.found, kept.not_found, kept.expired, kept.earlier)
        answers = (
            *(f"{number:,}" for number in numbers),
            *(f"{moment:%Y-%m-%d %H:%M}" for moment in (kept.oldest, kept.newest)),
        )
    return (
        name,
        *answers,
        *(f"{number:,}" for number in (tally.hits, tally.misses, tally.calls_saved)),
    )
