"""What `mt-pipeline cache show` prints of the store of answers, for people and for programs."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from mt_pipeline.enrichment.answers.maintenance import Kept
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.state.postgres import Postgres

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


@dataclass(frozen=True)
class Summary:
    """What the store has.

    Attributes:
        folder: where it is; Postgres if it is there.
        bytes: its size.
        unreadable: number of records that cannot be read.
        providers: answers and look-ups of each provider.
    """

    folder: Path | Postgres
    bytes: int = 0
    unreadable: int = 0
    providers: dict[str, tuple[Kept | None, Tally]] = field(default_factory=dict)

    def to_record(self) -> dict[str, object]:
        """Return it as JSON has it."""
        providers = {
            name: {**_numbers(answers), **asdict(tally)}
            for name, (answers, tally) in self.providers.items()
        }
        return {
            "folder": str(self.folder),
            "bytes": self.bytes,
            "unreadable": self.unreadable,
            "providers": providers,
        }

    def lines(self) -> list[str]:
        """Return a table with a row per provider, and a line for the files."""
        if not self.providers and not self.unreadable:
            return [f"no answers are stored yet in {self.folder}"]
        rows: list[tuple[str, ...]] = [_HEADER]
        rows += [_row(name, answers, tally) for name, (answers, tally) in self.providers.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        lines.append(f"{self.bytes:,} bytes in {self.folder}")
        if self.unreadable:
            lines.append(
                f"{self.unreadable:,} records cannot be read: `mt-pipeline cache check` names them"
            )
        return lines


def _numbers(answers: Kept | None) -> dict[str, object]:
    if answers is None:
        return {}
    times = {"oldest": answers.oldest.isoformat(), "newest": answers.newest.isoformat()}
    return {**asdict(answers), **times}


def _row(name: str, answers: Kept | None, tally: Tally) -> tuple[str, ...]:
    columns = ("0", *[""] * 6)
    if answers is not None:
        counts = (
            answers.answers,
            answers.found,
            answers.not_found,
            answers.expired,
            answers.earlier,
        )
        columns = (
            *(f"{count:,}" for count in counts),
            *(f"{time:%Y-%m-%d %H:%M}" for time in (answers.oldest, answers.newest)),
        )
    usage = (tally.hits, tally.misses, tally.calls_saved)
    return (name, *columns, *(f"{count:,}" for count in usage))
