"""A pool of DuckDB databases in memory, of bounded size, and the memory pool of Arrow.

Databases are reused: for a small capture, opening one and creating its functions takes as long as
all of its queries.
"""

import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from mt_pipeline.system import scratch

# Return Arrow's memory to the system at once. Its default pool keeps memory, which raises the peak
# of a worker by a tenth.
if "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())
    pa.jemalloc_set_decay_ms(0)

MEMORY = "128MB"
"""Memory of a database; more moves to disk."""

Prepare = Callable[[duckdb.DuckDBPyConnection], None]
"""Creates the functions of a new database."""

_idle: defaultdict[Prepare, list[duckdb.DuckDBPyConnection]] = defaultdict(list)


def plain(_: duckdb.DuckDBPyConnection) -> None:
    """Create no functions."""


@contextmanager
def connection(file: Path, *, prepare: Prepare = plain) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to a database that nobody else uses.

    Temporary tables and registered objects end with the connection. The database uses one core:
    tshark, QuestDB and other captures need the others.

    Args:
        file: a file; what does not fit into memory is written near it.
        prepare: creates the functions of a new database.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # DuckDB makes it when it needs it.
    spill = scratch.near(file.parent) / f".spill-{uuid.uuid4().hex}"
    try:
        database = _idle[prepare].pop()
    except IndexError:
        database = _new(prepare)
    try:
        database.execute(f"SET temp_directory = '{str(spill).replace(chr(39), 2 * chr(39))}'")
        with database.cursor() as cursor:
            yield cursor
    except BaseException:  # its state is unknown
        database.close()
        raise
    else:
        if spill.exists():  # DuckDB cannot change the folder once it has used it
            database.close()
        else:
            _idle[prepare].append(database)
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _new(prepare: Prepare) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config={"memory_limit": MEMORY, "threads": 1})
    prepare(database)
    return database
