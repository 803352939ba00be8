"""The state in a Postgres, within one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa

from mt_pipeline.captures import postgres_database
from mt_pipeline.captures.database import TABLE, upgrade
from mt_pipeline.enrichment.answers import postgres_records
from mt_pipeline.enrichment.netify import budget, calls, rate_limit
from mt_pipeline.pipeline.state_move.parts import (
    BATCH,
    CALLS,
    MoveError,
    Part,
    Row,
    insert,
    readable,
)
from mt_pipeline.state.advisory import are_held_by_others, number_of
from mt_pipeline.state.postgres import SCHEMA, Postgres, StateError, ensure_schema
from mt_pipeline.state.tables import take_turn

_MOVE = number_of("move of the state")
_TABLES = (*postgres_records.TABLES, *budget.TABLES, rate_limit.TABLE)
_USAGE = "usage", ("provider", "hits", "misses", "calls_saved")


@dataclass(frozen=True)
class Database:
    """The tables of a transaction, which changes all of them or none."""

    postgres: Postgres
    _db: sa.Connection

    def __str__(self) -> str:
        """Return its URL."""
        return str(self.postgres)

    @property
    def cure(self) -> str:
        """See `Place.cure`."""
        return (
            f"name another database; or, if nothing of it is needed, "
            f"have Postgres do DROP SCHEMA {SCHEMA} CASCADE there"
        )

    def rows(self, part: Part) -> Iterator[Row]:
        """See `Place.rows`."""
        if part is Part.ANSWERS:
            found = self._selected(sa.text("SELECT key, record FROM answers"))
            records = cast("Iterator[tuple[bytes, str]]", found)
            yield from readable((postgres_records.decoded(key), text) for key, text in records)
        elif part is Part.CAPTURES:
            yield from self._selected(sa.select(TABLE))
        else:
            table, columns = CALLS.get(part, _USAGE)
            yield from self._selected(sa.text(f"SELECT {', '.join(columns)} FROM {table}"))

    def fill(self, part: Part, rows: Iterator[Row]) -> None:
        """See `Place.fill`."""
        if part is Part.ANSWERS:
            records = cast("Iterator[tuple[str, str]]", rows)
            rows = ((postgres_records.encoded(key), text) for key, text in records)
            into = sa.table("answers", sa.column("key"), sa.column("record"))
        elif part is Part.CAPTURES:
            into = TABLE
        else:
            table, columns = CALLS.get(part, _USAGE)
            into = sa.table(table, *map(sa.column, columns))
        insert(self._db, into, rows)

    def _selected(self, query: sa.Executable) -> Iterator[Row]:
        with self._db.execute(query, execution_options={"yield_per": BATCH}) as found:
            yield from map(tuple, found)


@contextmanager
def opened(postgres: Postgres) -> Iterator[Database]:
    """Open the tables, which are created if they are missing, and keep everybody else out.

    Raises:
        MoveError: a run, or another move, is at work.
        StateError: Postgres does not answer, or refuses a statement.
    """
    try:
        with postgres.engine.begin() as db:
            if not db.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_MOVE))).scalar_one():
                raise MoveError(f"another move is at work in {postgres}: wait for it")
            postgres_database.take_turn(db)
            for name in (postgres_records.NAME, calls.NAME):
                take_turn(db, name)
            if are_held_by_others(db):
                raise MoveError(
                    f"a service or a run is at work in {postgres}: "
                    "stop it, or wait for it, and move then"
                )
            ensure_schema(db)
            upgrade(db)
            for statement in _TABLES:
                db.exec_driver_sql(statement)
            yield Database(postgres, db)
    except sa.exc.DBAPIError as error:
        raise StateError(
            f"the state cannot be moved, and {postgres} stays as it was "
            f"({postgres.meaning(error.orig)})"
        ) from None
