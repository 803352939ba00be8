"""Multiplies the one capture of a data folder: inbox, ledger, partitions, events and runs.

The databases write the copies themselves: to load or to report each takes hours.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mt_pipeline.defs.runs import CAPTURES_PER_RUN
from mt_pipeline_tests.pipelines import capture

FOLDERS = 100
_LINKS = 50_000
"""Names of one file: ext4 takes 65,000."""


def key(number: int) -> str:
    """Return the key of a capture."""
    return f"experiment{number % FOLDERS}/{number:06}.pcap"


def fill(inbox: Path, count: int) -> None:
    """Put so many captures into an inbox: few files of many names, all alike."""
    for folder in range(FOLDERS):
        (inbox / f"experiment{folder}").mkdir(parents=True, exist_ok=True)
    first = inbox / key(0)
    if not first.exists():
        capture(first)
    for number in range(1, count):
        path, place = inbox / key(number), number % _LINKS
        if place:
            path.hardlink_to(inbox / key(number - place))
        else:
            path.write_bytes(first.read_bytes())
            os.utime(path, ns=(first.stat().st_atime_ns, first.stat().st_mtime_ns))


def multiply(data: Path, count: int) -> None:
    """Make `count` loaded captures of `key(0)`, which is the only one, while no service runs.

    50 of them have a run, as in an archive. The log of each run, which no list of captures or runs
    reads, and its rows are not made. Reports are newer than the captures, so that none is due.
    """
    fill(data / "inbox", count)
    for folder in range(FOLDERS):
        report = data / "reports" / f"experiment{folder}.html"
        report.parent.mkdir(exist_ok=True)
        report.touch()
    history = data / "dagster" / "history"
    with _opened(data / "ledger.sqlite") as db:
        _copy(
            db,
            "captures",
            count,
            key="key_of(i)",
            path="replace(path, key_of(0), key_of(i))",
            experiment=f"printf('experiment%d', i % {FOLDERS})",
            sha256="key_of(i)",
        )
    with _opened(history / "runs" / "index.db") as db:
        [[run]] = db.execute("SELECT DISTINCT run_id FROM event_logs WHERE partition = key_of(0)")
        run_of = f"run_of(i / {CAPTURES_PER_RUN})"
        step = _copy(
            db,
            "event_logs",
            count,
            where="partition = key_of(0)",
            run_id=run_of,
            partition="key_of(i)",
            event=f"replace(replace(event, key_of(0), key_of(i)), '{run}', {run_of})",
        )
        _copy(db, "asset_event_tags", count, event_id=f"event_id + {step} * i")
        _copy(db, "dynamic_partitions", count, partition="key_of(i)")
    with _opened(history / "runs.db") as db:
        runs = -(-count // CAPTURES_PER_RUN)
        first = f"replace(%s, key_of(0), key_of(i * {CAPTURES_PER_RUN}))"
        body = f"replace({first % 'run_body'}, run_id, run_of(i))"
        _copy(db, "run_tags", runs, run_id="run_of(i)", value=first % "value")
        _copy(db, "runs", runs, run_id="run_of(i)", run_body=body, partition=first % "partition")


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as db, db:
        db.create_function("key_of", 1, key, deterministic=True)
        db.create_function("run_of", 1, "{:08}-0000-4000-8000-000000000000".format)
        yield db


def _copy(
    db: sqlite3.Connection, table: str, count: int, *, where: str = "TRUE", **changed: str
) -> int:
    """Insert `count - 1` copies of some rows.

    Args:
        db: has the table.
        table: its name.
        count: how many there are then, of each row.
        where: which rows.
        changed: SQL of the columns that differ from copy to copy; `i` is its number.

    Returns:
        By how much a number in the column `id` grows from one copy to the next.
    """
    names = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
    step = 0
    if "id" in names:
        [[step]] = db.execute(f"SELECT max(id) FROM {table}")
        changed["id"] = f"id + {step} * i"
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(changed.get(name, f'"{name}"') for name in names)
    db.execute(
        f"WITH RECURSIVE copies(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM copies "
        f"WHERE i < {count} - 1) INSERT INTO {table} ({columns}) "
        f"SELECT {values} FROM copies CROSS JOIN (SELECT * FROM {table} WHERE {where})"
    )
    return step
