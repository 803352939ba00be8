"""Sends rows to a QuestDB that reads our disk: a Parquet file per batch, and an INSERT from it.

`ilp.py` reaches any QuestDB. This way client and server together need two fifths less processor
time for the same rows.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet
from psycopg import sql

from mt_pipeline.backends.loads import LoadFailed, Unreachable
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.import_columns import ImportColumn, import_columns
from mt_pipeline.backends.questdb.retry import WentAway, retry_until_back
from mt_pipeline.schema.tables import Table

_INSERT = """
INSERT ATOMIC INTO {} ({}, load, gone) SELECT {}, {}, false FROM read_parquet({})
"""


class ParquetSender:
    """Sends each batch as a file and one transaction."""

    def __init__(self, database: Database, table: Table, folder: Path) -> None:
        """Remember where the rows go.

        Args:
            database: where to.
            table: which table.
            folder: of this load, in the folder that the server imports from.
        """
        self._database = database
        self._table = table
        self._folder = folder

    def send(self, batch: pa.RecordBatch, load: int) -> None:
        """Send rows of a load.

        Raises:
            Unreachable: QuestDB went away, and is not back in time.
            LoadFailed: QuestDB refuses the rows.
            OSError: the file cannot be written, for example on a full disk.
        """
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".parquet") as file:
            # A QuestDB in a container is another account, of the same group.
            os.fchmod(file.fileno(), 0o640)
            columns = list(import_columns(self._table, batch))
            written = [column for column in columns if column.values is not None]
            pyarrow.parquet.write_table(
                pa.table({column.name: column.values for column in written}),
                file,
                use_dictionary=[column.name for column in written if column.is_text],
                compression="none",
                write_statistics=False,
                store_schema=False,
            )
            file.flush()
            path = f"{self._folder.name}/{Path(file.name).name}"
            insert = _insert(self._table, columns, path, load)
            retry_until_back(
                f"{self._database.host}:{self._database.pg_port}",
                lambda: self._execute(insert),
                seconds=self._database.retry_seconds,
            )

    def _execute(self, insert: sql.Composed) -> None:
        try:
            with self._database.connect() as connection:
                connection.execute(insert)
        except Unreachable:
            raise WentAway("it does not answer") from None
        except psycopg.DatabaseError as error:
            reason = str(error).partition("\n")[0]
            raise LoadFailed(
                f"QuestDB refuses rows: {reason}; is its disk full? Its log says more"
            ) from None


@contextmanager
def own_folder(shared: Path) -> Iterator[Path]:
    """Create a folder for a load, and delete it at the end; delete those of killed loads, too.

    Args:
        shared: the folder that the server imports from.
    """
    shared.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # Until the new folder is locked, nobody may take it for an abandoned one.
        with _lock(shared):
            for folder in shared.glob("load-*"):
                with suppress(BlockingIOError), _lock(folder, fcntl.LOCK_NB):
                    shutil.rmtree(folder, ignore_errors=True)
            temporary = tempfile.TemporaryDirectory(
                prefix="load-", dir=shared, ignore_cleanup_errors=True
            )
            own = Path(stack.enter_context(temporary))
            own.chmod(0o2750)  # its files belong to its group
            stack.enter_context(_lock(own))
        yield own


@contextmanager
def _lock(folder: Path, flags: int = 0) -> Iterator[None]:
    """Lock a folder; the kernel unlocks it when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


def _insert(table: Table, columns: Sequence[ImportColumn], file: str, load: int) -> sql.Composed:
    return sql.SQL(_INSERT).format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(column.expression for column in columns),
        sql.Literal(load),
        sql.Literal(file),
    )
