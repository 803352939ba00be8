"""Small tables of the state in Postgres, in plain SQL. One transaction at a time changes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from mt_pipeline.state import advisory
from mt_pipeline.state.postgres import Execute, Postgres, StateError, ensure_schema, made


class Tables:
    """Tables that belong together.

    Args:
        postgres: where.
        name: of all of them, for their lock and for messages.
        made_by: the statements that create those that are missing.
    """

    def __init__(self, postgres: Postgres, name: str, made_by: Sequence[str]) -> None:
        self._postgres, self._name, self._made_by = postgres, name, tuple(made_by)

    def __str__(self) -> str:
        """Return where they are, for people."""
        return f"{self._name} in {self._postgres}"

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Execute]:
        """Yield what runs statements.

        Args:
            writes: let all others wait who write.

        Raises:
            StateError: Postgres does not answer, or refuses a statement.
        """
        try:
            with self._postgres.engine.begin() as db:
                is_made = (self._postgres, self._made_by) in made
                if writes or not is_made:
                    take_turn(db, self._name)
                if not is_made:
                    ensure_schema(db)
                    for statement in self._made_by:
                        db.exec_driver_sql(statement)

                def execute(statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
                    result = db.exec_driver_sql(statement.replace("?", "%s"), values)
                    return [tuple(row) for row in result] if result.returns_rows else []

                yield execute
        except sa.exc.DBAPIError as error:
            raise StateError(
                f"{self} cannot be used ({self._postgres.meaning(error.orig)})"
            ) from None
        made.add((self._postgres, self._made_by))


def take_turn(db: sa.Connection, name: str) -> None:
    """Keep others from changing tables until the transaction ends.

    Args:
        db: the transaction.
        name: that of the tables.
    """
    advisory.take_turn(db, f"tables {name}")
