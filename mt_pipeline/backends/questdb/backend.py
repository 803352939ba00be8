"""QuestDB as a back end: its tables and views, behind the interface of `backends/backend.py`."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlencode

from mt_pipeline.backends.backend import Location
from mt_pipeline.backends.loads import Load, Loaded, Stored, StoredCounts
from mt_pipeline.backends.questdb import ddl, early_rows, loader, removal, views
from mt_pipeline.backends.questdb.compact import undisturbed
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.locks import LoadingLock
from mt_pipeline.backends.questdb.stored_counts import stored_counts
from mt_pipeline.schema.tables import FLOWS, PACKETS


@dataclass(frozen=True)
class QuestDb:
    """The tables and views of a QuestDB.

    Attributes:
        database: which one.
        reading: the same database as a user who may only read.
        console: where browsers reach its console.
        sign_in: who may sign in there.
        lock: keeps `compact` from moving rows meanwhile.
    """

    database: Database
    reading: Database
    console: str
    sign_in: str
    lock: LoadingLock

    @property
    def name(self) -> str:
        """Return its name."""
        return "QuestDB"

    def early_rows(
        self, capture: str, experiment: str
    ) -> AbstractContextManager[early_rows.EarlyRows]:
        """Return what takes rows of a capture before its load."""
        return early_rows.opened(self.database, self.lock, capture=capture, experiment=experiment)

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Stored]]:
        """Load captures together."""
        with undisturbed(self.database, self.lock):
            return loader.load(self.database, loads)

    def remove(self, capture: str) -> int:
        """Delete the rows of a capture from all views."""
        with undisturbed(self.database, self.lock):
            return removal.remove(self.database, capture)

    def expire(self, capture: str) -> int:
        """Delete the packets of a capture from their view."""
        with undisturbed(self.database, self.lock):
            return removal.remove(self.database, capture, tables=(PACKETS,))

    def forget(self, experiment: str) -> None:
        """Drop the views of an experiment, unless one of its captures was loaded meanwhile."""
        with self.lock.alone(), self.database.connect() as connection:
            if not removal.count(self.database, experiment=experiment):
                for table in (FLOWS, PACKETS):
                    views.drop_view(connection, experiment, table)

    def stored(self, *, thorough: bool) -> Mapping[str, StoredCounts]:
        """Count what the tables store."""
        with undisturbed(self.database, self.lock):
            with self.database.connect() as connection:
                for table in (PACKETS, FLOWS):
                    ddl.ensure_table(connection, table)
            return stored_counts(self.reading, thorough=thorough)

    def location(self, loaded: Loaded, *, capture: str, experiment: str) -> Location:
        """Return the view, with a link to the rows in QuestDB's console."""
        view = views.view_name(experiment)
        quoted = capture.replace("'", "''")
        table = view if loaded.has_view else ddl.TABLE
        sql = f"SELECT * FROM {table} WHERE capture = '{quoted}' ORDER BY ts LIMIT 1000"
        link = f"{self.console}/?{urlencode({'query': sql, 'executeQuery': 'true'})}"
        without = f"{ddl.TABLE} (the server can bear no more views: query it by experiment)"
        return Location("table", view if loaded.has_view else without, link, self.sign_in)
