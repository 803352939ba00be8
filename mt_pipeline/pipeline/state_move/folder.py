"""The state in the files of a data folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from filelock import Timeout

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.locks import FileLocks
from mt_pipeline.captures.sqlite_database import SqliteDatabase
from mt_pipeline.enrichment.answers.database import FileRecords
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.netify import budget, calls, rate_limit
from mt_pipeline.enrichment.netify.calls import Unusable
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.state_move.parts import (
    BATCH,
    CALLS,
    MoveError,
    Part,
    Row,
    insert,
    readable,
)
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.state.postgres import Execute


@dataclass(frozen=True)
class Folder:
    """The open files. Each is written as a whole or not at all."""

    data: Path
    _ledger: sa.Connection
    _records: FileRecords | None
    _calls: Mapping[Part, Execute]

    def __str__(self) -> str:
        """Return the folder."""
        return str(self.data)

    @property
    def cure(self) -> str:
        """See `Place.cure`."""
        return "if nothing of it is needed, move ledger.sqlite and cache out of the folder"

    def rows(self, part: Part) -> Iterator[Row]:
        """See `Place.rows`."""
        if part is Part.CAPTURES:
            found = self._ledger.execute(sa.select(TABLE), execution_options={"yield_per": BATCH})
            yield from map(tuple, found)
        elif part in CALLS:
            table, columns = CALLS[part]
            if part in self._calls:
                yield from self._calls[part](f"SELECT {', '.join(columns)} FROM {table}")
        elif self._records and part is Part.ANSWERS:
            yield from readable(self._records.items())
        elif self._records:
            for provider, tally in self._records.usage().items():
                yield provider, tally.hits, tally.misses, tally.calls_saved

    def fill(self, part: Part, rows: Iterator[Row]) -> None:
        """See `Place.fill`."""
        if part is Part.CAPTURES:
            insert(self._ledger, TABLE, rows)
        elif part in CALLS:
            table, columns = CALLS[part]
            values = ", ".join("?" * len(columns))
            for row in rows:
                self._calls[part](f"INSERT INTO {table} VALUES ({values})", *row)
        elif self._records and part is Part.ANSWERS:
            self._records.fill(cast("Iterator[tuple[str, str]]", rows))
        elif self._records:
            tallies = cast("Iterator[tuple[str, int, int, int]]", rows)
            news = {provider: Tally(*numbers) for provider, *numbers in tallies}
            if news:
                self._records.add_usage(news)


@contextmanager
def opened(workspace: Workspace, *, creates: bool) -> Iterator[Folder]:
    """Open the files, and keep everybody else from changing them.

    Args:
        workspace: the data folder.
        creates: create the files that are missing.

    Raises:
        MoveError: a service or a run is at work, there is no state, or a file cannot be used.
        LedgerError, StoreError: a file cannot be used.
    """
    options = workspace.options
    data, file = options.data_dir, options.ledger_file
    answers, cache = providers.answers_folder(options), options.data_dir / "cache"
    if not creates and not file.exists():
        raise MoveError(f"{data} has no ledger, so there is no state to move: set MT_DATA_DIR")
    with ExitStack() as stack:
        try:
            stack.enter_context(workspace.service_lock)
        except Timeout:
            raise MoveError(
                f"a service, or another move, is at work on {data}: stop it, and move then"
            ) from None
        ledger = stack.enter_context(SqliteDatabase(file).write())
        if FileLocks.beside(file).is_any_held():
            raise MoveError(f"a run is at work on {data}: stop it, or wait for it, and move then")
        records = None
        if creates or answers.exists():
            records = FileRecords(answers)
            stack.callback(records.close)
            stack.enter_context(records.writing())
        numbers = {
            **_opened(stack, cache / budget.FILE, budget.TABLES, (Part.DAYS, Part.RUNS), creates),
            **_opened(stack, cache / rate_limit.FILE, (rate_limit.TABLE,), (Part.PAUSES,), creates),
        }
        yield Folder(data, ledger, records, numbers)


def _opened(
    stack: ExitStack, file: Path, tables: Sequence[str], parts: Sequence[Part], creates: bool
) -> dict[Part, Execute]:
    """Open a small file with numbers about calls; nothing if it is missing."""
    kept = calls.opened(file, *tables)
    if kept.is_empty() and not creates:
        return {}
    try:
        execute = stack.enter_context(kept.transaction())
    except Unusable as error:
        raise MoveError(f"{file} cannot be used ({error}): repair it, or move it away") from None
    return dict.fromkeys(parts, execute)
