"""What rows can be loaded into: one small interface, and what stands behind it. The loads themselves are the business of the rooms.

Another back end is a class like these, its name in `settings.BACKENDS`, and a line in `opened`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dagster as dg

from mt_pipeline.backends.parquet import dataset
from mt_pipeline.backends.parquet.stored_counts import held as held_in_files
from mt_pipeline.backends.questdb import ddl, flow_loader, loader, locks
from mt_pipeline.backends.questdb.compact import undisturbed
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.flow_loader import Load, Summary
from mt_pipeline.backends.questdb.loader import Loaded
from mt_pipeline.backends.questdb.stored_counts import Held, held
from mt_pipeline.defs import metadata
from mt_pipeline.defs.metadata import Metadata
from mt_pipeline.pipeline.workspace import Pipeline
from mt_pipeline.schema.tables import FLOWS, PACKETS


class Backend(Protocol):
    """Somewhere to load rows into."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Summary]]:
        """Load the packets and the flows of captures in place of their earlier ones, then count what can be read of each.

        Args:
            loads: what is to be loaded, of each capture once; packets and flows take no time and no memory before the first is asked for.

        Raises:
            RowsMissing: it does not hold the packets that were sent of a capture; whether it holds those of the others is not said.
            FlowsDiffer: the flows of a capture do not have the packets and bytes of its rows; likewise.
        """
        ...

    def remove(self, capture: str) -> int:
        """Take a capture out; its lock is held. Returns how many packets it had."""
        ...

    def expire(self, capture: str) -> int:
        """Take the packets of a capture out, and leave its flows; its lock is held. Returns how many it had."""
        ...

    def forget(self, experiment: str) -> None:
        """Take out what there is of an experiment beside its captures, of which none is left."""
        ...

    def held(self, *, thorough: bool) -> Mapping[str, Held]:
        """Count by capture key what can be read.

        Args:
            thorough: read every column, to find those that cannot be.

        Raises:
            DatabaseError: it cannot be asked.
        """
        ...

    def described(self, loaded: Loaded, *, capture: str, experiment: str) -> Metadata:
        """Say where a person finds the rows of a load."""
        ...


@dataclass(frozen=True)
class QuestDb:
    """Tables and views of a QuestDB.

    Attributes:
        database: which one.
        reading: the same, as a user who may only read.
        console: where browsers reach its console.
        sign_in: who may sign in there.
        lock: keeps rows from being moved about meanwhile.
    """

    database: Database
    reading: Database
    console: str
    sign_in: str
    lock: Path

    @property
    def name(self) -> str:
        """Its name."""
        return "QuestDB"

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Summary]]:
        """Load captures together."""
        with undisturbed(self.database, self.lock):
            return flow_loader.load(self.database, loads)

    def remove(self, capture: str) -> int:
        """Take a capture out of all views."""
        with undisturbed(self.database, self.lock):
            return loader.remove(self.database, capture)

    def expire(self, capture: str) -> int:
        """Take the packets of a capture out of their view."""
        with undisturbed(self.database, self.lock):
            return loader.remove(self.database, capture, tables=(PACKETS,))

    def forget(self, experiment: str) -> None:
        """Drop the views of an experiment, unless one of its captures was loaded meanwhile: no load is under way then."""
        with locks.alone(self.lock), self.database.connect() as connection:
            if not loader.count(self.database, experiment=experiment):
                for table in (FLOWS, PACKETS):
                    ddl.drop_view(connection, experiment, table)

    def held(self, *, thorough: bool) -> Mapping[str, Held]:
        """Count what the tables hold."""
        with undisturbed(self.database, self.lock):
            with self.database.connect() as connection:
                for table in (PACKETS, FLOWS):
                    ddl.ensure_table(connection, table)
            return held(self.reading, thorough=thorough)

    def described(self, loaded: Loaded, *, capture: str, experiment: str) -> Metadata:
        """Name the view, with a link to the rows."""
        return metadata.of_view(loaded, key=capture, experiment=experiment, console=self.console, sign_in=self.sign_in)


@dataclass(frozen=True)
class ParquetFiles:
    """A data set of Parquet files.

    Attributes:
        folder: of the data set.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Its name."""
        return "Parquet"

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Summary]]:
        """Load captures, one after the other."""
        return [dataset.load(self.folder, one) for one in loads]

    def remove(self, capture: str) -> int:
        """Delete the files of a capture."""
        return dataset.remove(self.folder, capture)

    def expire(self, capture: str) -> int:
        """Delete the files of a capture's packets."""
        return dataset.remove(self.folder, capture, flows=False)

    def forget(self, experiment: str) -> None:
        """Do nothing: the folders of an experiment go with its last file."""

    def held(self, *, thorough: bool) -> Mapping[str, Held]:
        """Count what the files hold."""
        return held_in_files(self.folder, thorough=thorough)

    def described(self, loaded: Loaded, *, capture: str, experiment: str) -> Metadata:
        """Name the files."""
        return {"parquet": dg.MetadataValue.text(str(self.folder / "*" / f"experiment={experiment}" / "*" / dataset.name_of(capture)))}


def opened(pipeline: Pipeline) -> Sequence[Backend]:
    """Open those of the settings, in their order.

    Raises:
        Unreachable: QuestDB is one of them, and none is running.
    """
    return [{"questdb": _questdb, "parquet": _parquet}[name](pipeline) for name in pipeline.settings.backends]


def _questdb(pipeline: Pipeline) -> Backend:
    database = pipeline.database()
    console = pipeline.settings.questdb_console or database.console
    return QuestDb(database, pipeline.reading(), console, pipeline.sign_in, pipeline.loading_lock)


def _parquet(pipeline: Pipeline) -> Backend:
    return ParquetFiles(pipeline.settings.data_dir / "parquet")
