"""The DuckDB and the Arrow of this process: databases in memory, of bounded size, that the next one who needs one gets again.

Opening one and making its functions takes as long as all that is asked of it for a small capture.
"""

import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

# What Arrow takes is given back at once: its default pool keeps what it once had, and a worker's peak is a tenth higher.
if "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())
    pa.jemalloc_set_decay_ms(0)

MEMORY = "128MB"
"""What one may hold before it moves to disk."""

Prepare = Callable[[duckdb.DuckDBPyConnection], None]
"""Makes the functions that a database is wanted with."""

_idle: defaultdict[Prepare, list[duckdb.DuckDBPyConnection]] = defaultdict(list)


def plain(_: duckdb.DuckDBPyConnection) -> None:
    """Make no functions."""


@contextmanager
def connection(beside: Path, *, prepare: Prepare = plain) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to a database of its own; temporary tables and what is registered are gone with it.

    It works on one core: beside it others are busy, tshark, QuestDB, or the same for another capture.

    Args:
        beside: a file, in whose folder there is room for what does not fit into memory.
        prepare: makes its functions, once.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    spill = beside.parent / f".spill-{uuid.uuid4().hex}"  # it is made when it is needed
    try:
        database = _idle[prepare].pop()
    except IndexError:
        database = _new(prepare)
    try:
        database.execute(f"SET temp_directory = '{str(spill).replace(chr(39), 2 * chr(39))}'")
        with database.cursor() as opened:
            yield opened
    except BaseException:  # whatever state it is in
        database.close()
        raise
    else:
        if spill.exists():  # it never takes another folder once it has used one
            database.close()
        else:
            _idle[prepare].append(database)
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _new(prepare: Prepare) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config={"memory_limit": MEMORY, "threads": 1})
    prepare(database)
    return database
