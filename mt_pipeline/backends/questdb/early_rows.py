"""Sends rows of a capture that is still read. `loader.py` sends the rest, and counts all."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.backends.loads import Part, Scattered
from mt_pipeline.backends.questdb import loader
from mt_pipeline.backends.questdb.compact import undisturbed
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ilp import IlpSender
from mt_pipeline.backends.questdb.locks import LoadingLock
from mt_pipeline.backends.questdb.parquet_import import ParquetSender
from mt_pipeline.backends.questdb.senders import open_sender
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.schema.tables import PACKETS

_MAX_MONTHS = 12
"""Packets of a capture that lie in more months wait for its load, which knows how many there are.

Each month takes files of QuestDB, and a capture that is refused must not have taken many.
"""


class EarlyRows:
    """Rows of one capture; `opened` makes it.

    Attributes:
        load: the number of the load that they are part of.
    """

    def __init__(
        self,
        database: Database,
        lock: LoadingLock,
        sender: IlpSender | ParquetSender,
        *,
        capture: str,
        experiment: str,
    ) -> None:
        self.load = time.time_ns() // 1000
        self._database, self._lock, self._sender = database, lock, sender
        self._capture, self._experiment = capture, experiment
        self._months: frozenset[str] = frozenset()

    def send(self, batch: pa.RecordBatch) -> None:
        """Send those rows that can be stored. Readers see them soon after.

        Args:
            batch: of `rows.packets`.

        Raises:
            BackendError: they cannot be sent.
        """
        for storable in Part(self._capture, self._experiment, iter([batch])).storable():
            if storable.num_rows:
                # Only for as long as it takes to send: to read a capture may take hours.
                with undisturbed(self._database, self._lock):
                    self._make_room(_months(storable))
                    self._sender.send(storable, self.load)

    def _make_room(self, months: frozenset[str]) -> None:
        """Have tables and views for rows of these months."""
        if months <= self._months:
            return
        all_months = self._months | months
        if len(all_months) > _MAX_MONTHS:
            raise Scattered(f"{self._capture}: its packets lie in more than {_MAX_MONTHS} months")
        loader.ensure(self._database, {self._experiment}, {self._capture: all_months})
        with self._database.connect() as connection:
            ensure_view(
                connection,
                self._experiment,
                lock=self._database.lock,
                max_views=self._database.max_views,
            )
        self._months = all_months


@contextmanager
def opened(
    database: Database, lock: LoadingLock, *, capture: str, experiment: str
) -> Iterator[EarlyRows]:
    """Yield what takes the rows of a capture.

    Args:
        database: where to.
        lock: keeps `compact` from moving rows meanwhile.
        capture: the capture key.
        experiment: its experiment.
    """
    with ExitStack() as stack:
        sender = open_sender(database, PACKETS, stack)
        yield EarlyRows(database, lock, sender, capture=capture, experiment=experiment)


def _months(batch: pa.RecordBatch) -> frozenset[str]:
    """Return the months of rows, such as `2023-11`."""
    firsts = pc.unique(pc.floor_temporal(batch[PACKETS.keys[0]], unit="month"))
    return frozenset(f"{first:%Y-%m}" for first in firsts.to_pylist())
