"""How a table is cut by time, and how many parts that may be. Each is some 90 files and maps of QuestDB, for packets and flows together.

Linux lets a process have 65,530 maps (`vm.max_map_count`), and QuestDB's Java ends when it has no more. So a table has at most 400 partitions:
33 years of months. Tables of older releases have days; `repartition.py` cuts them anew, and until then they are read a year at a time.
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

import pandas as pd
import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import Scattered
from mt_pipeline.schema.tables import Table

MOST = 400
"""Partitions of a table. All of packets and of flows, read at once, take 37,000 maps."""

MOST_OF_A_CAPTURE = 150
"""Months in which the packets of one capture may lie, so that a few captures do not use up those of all."""


@dataclass(frozen=True)
class Unit:
    """What a table is cut into.

    Attributes:
        name: as QuestDB has it.
        length: characters of a partition's name; the name of a part of it is longer.
        most: partitions that are borne.
        of_a_month: partitions in a month, at most.
    """

    name: str
    length: int
    most: int = MOST
    of_a_month: int = 1


DAY = Unit("DAY", len("2023-11-14"), most=700, of_a_month=31)
UNITS = {
    unit.name: unit for unit in (DAY, Unit("MONTH", len("2023-11")), Unit("YEAR", len("2023")))
}

_UNIT = "SELECT partitionBy FROM tables() WHERE table_name = %s"
_SIZES = "SELECT name, diskSize FROM table_partitions({})"
_WIDEST = """
SELECT capture, count() AS months FROM (SELECT capture, timestamp_floor('M', ts) AS month FROM {} WHERE NOT gone GROUP BY capture, month)
GROUP BY capture ORDER BY months DESC LIMIT 1
"""


def unit_of(connection: psycopg.Connection, table: Table) -> Unit | None:
    """Say what a table is cut into; None if there is no such table, or it is cut as none of ours."""
    row = connection.execute(_UNIT, (table.name,)).fetchone()
    return UNITS.get(row[0]) if row else None


def sizes(connection: psycopg.Connection, table: Table) -> Counter[str]:
    """Say how many bytes each partition has, by its name; QuestDB may keep it in parts."""
    unit, found = unit_of(connection, table) or DAY, Counter[str]()
    for name, size in connection.execute(
        sql.SQL(_SIZES).format(sql.Literal(table.name))
    ).fetchall():
        found[name[: unit.length]] += size
    return found


def ends_of(partition: str) -> tuple[str, str]:
    """Say the first and the last microsecond of a day, a month or a year, as QuestDB writes them."""
    period = pd.Period(partition)
    return f"{period.start_time:%Y-%m-%d}", f"{period.end_time:%Y-%m-%dT%H:%M:%S}.999999"


def stretches(connection: psycopg.Connection, table: Table) -> list[sql.Composable]:
    """Divide the time of a table, so that a question about each opens no more partitions than QuestDB bears.

    Returns:
        Conditions to add to a WHERE; one empty one for a table with months.
    """
    if unit_of(connection, table) != DAY:
        return [sql.SQL("")]
    years = sorted({name[:4] for name in sizes(connection, table)})
    return [sql.SQL(" AND ts IN {}").format(sql.Literal(year)) for year in years]


def check(connection: psycopg.Connection, table: Table, captures: Mapping[str, Set[str]]) -> None:
    """Refuse captures whose packets lie in more months than the table can bear.

    Args:
        connection: to QuestDB.
        table: which table; it is there.
        captures: by capture key, the months in which its packets lie, as `2023-11`.

    Raises:
        Scattered: one of them does; nothing is loaded.
    """
    for key, months in captures.items():
        if len(months) > MOST_OF_A_CAPTURE:
            raise Scattered(
                f"{key}: its packets lie in {len(months):,} different months, {min(months)} to {max(months)}, and at most {MOST_OF_A_CAPTURE} can be "
                "loaded of a capture, as each takes 90 files of QuestDB; if its times are wrong, move them with `editcap -t`; else cut it with "
                "`editcap -A START -B STOP`, or load a part of it with `mt-pipeline ingest --filter 'frame.time >= \"2023-01-01\"'`"
            )
    unit, present = unit_of(connection, table) or DAY, set(sizes(connection, table))
    new = set().union(*captures.values()) - {name[: len("2023-11")] for name in present}
    count = len(present) + len(new) * unit.of_a_month
    if not new or count <= unit.most:
        return
    key = max(captures, key=lambda one: len(captures[one] & new))
    if unit == DAY:
        cure = f"{table.name} is still cut into days: make room on the disk, then say `mt-pipeline compact`, which cuts it into months"
    else:
        widest, months = connection.execute(
            sql.SQL(_WIDEST).format(sql.Identifier(table.name))
        ).fetchone() or ("", 0)
        cure = f"`mt-pipeline purge --capture` what you can spare, such as {widest} with its {months:,} months, then `mt-pipeline compact`"
    raise Scattered(
        f"{key}: {table.name} would have {count:,} partitions by time, and QuestDB bears {unit.most}: {cure}; then launch the capture again"
    )
