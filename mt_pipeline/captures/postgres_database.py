"""The ledger in Postgres, which several machines share: its transactions, its errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from mt_pipeline.captures.database import upgrade
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.state import advisory
from mt_pipeline.state.postgres import Postgres, ensure_schema, made

_NAME = "ledger"


class PostgresDatabase:
    """The table in Postgres, created or upgraded when it is opened.

    Args:
        postgres: where.

    Raises:
        LedgerError: it cannot be used.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        if (postgres, _NAME) in made:
            return
        with self.write() as db:
            ensure_schema(db)
            upgrade(db)
        made.add((postgres, _NAME))

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """See `Database.read`."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._translated(), self._postgres.engine.execution_options(**options).begin() as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """See `Database.write`."""
        # Each statement sees what was committed before it: the first one waits for other writers.
        with self._translated(), self._postgres.engine.begin() as db:
            take_turn(db)
            yield db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            reason = self._postgres.meaning(error.orig)
            raise LedgerError(
                f"The ledger in {self._postgres} cannot be used ({reason})."
            ) from error


def take_turn(db: sa.Connection) -> None:
    """Keep others from writing until the transaction ends."""
    advisory.take_turn(db, _NAME)
