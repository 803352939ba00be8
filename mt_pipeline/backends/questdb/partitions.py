"""How a table is partitioned by time, and how many partitions it may have.

A month of packets and flows takes some 90 files and maps of QuestDB. Linux lets a process have
65,530 maps (`vm.max_map_count`), and QuestDB's Java crashes when it needs more. So a table has at
most 400 partitions, 33 years of months. Tables of older releases have days. `repartition.py` turns
those into months, and until then queries read them a year at a time.
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

import psycopg
from psycopg import sql

from mt_pipeline.backends.loads import Scattered
from mt_pipeline.schema.tables import Table

MAX_PARTITIONS = 400
"""Of a table. All partitions of packets and flows, read at once, take 37,000 maps."""

MAX_MONTHS_PER_CAPTURE = 150
"""So that a few captures cannot use up the partitions of all."""


@dataclass(frozen=True)
class Unit:
    """The unit of time that a table is partitioned by.

    Attributes:
        name: in QuestDB.
        length: characters of a partition's name; the name of a split partition is longer.
        max_partitions: how many partitions QuestDB can bear.
        per_month: partitions in a month, at most.
    """

    name: str
    length: int
    max_partitions: int = MAX_PARTITIONS
    per_month: int = 1


DAY = Unit("DAY", len("2023-11-14"), max_partitions=700, per_month=31)
UNITS = {
    unit.name: unit for unit in (DAY, Unit("MONTH", len("2023-11")), Unit("YEAR", len("2023")))
}

_UNIT = "SELECT partitionBy FROM tables() WHERE table_name = %s"
_SIZES = "SELECT name, diskSize FROM table_partitions({})"
_WIDEST = """
SELECT capture, count() AS months FROM (
SELECT capture, timestamp_floor('M', ts) AS month FROM {} WHERE NOT gone GROUP BY capture, month
) GROUP BY capture ORDER BY months DESC LIMIT 1
"""


def unit_of(connection: psycopg.Connection, table: Table) -> Unit | None:
    """Return the unit of a table; None without such a table, or for a unit that is not ours."""
    row = connection.execute(_UNIT, (table.name,)).fetchone()
    return UNITS.get(row[0]) if row else None


def sizes(connection: psycopg.Connection, table: Table) -> Counter[str]:
    """Return the bytes of each partition by its name, summed over the parts of a split one."""
    unit, totals = unit_of(connection, table) or DAY, Counter[str]()
    query = sql.SQL(_SIZES).format(sql.Literal(table.name))
    for name, size in connection.execute(query).fetchall():
        totals[name[: unit.length]] += size
    return totals


def bounds(partition: str) -> tuple[str, str]:
    """Return the first and last microsecond of a day, month or year, as QuestDB writes them."""
    from pandas import Period  # takes 0.2 s to import, and most commands need no partition

    period = Period(partition)
    return f"{period.start_time:%Y-%m-%d}", f"{period.end_time:%Y-%m-%dT%H:%M:%S}.999999"


def time_ranges(connection: psycopg.Connection, table: Table) -> list[sql.Composable]:
    """Divide the time of a table, so that a query opens only as many partitions as QuestDB bears.

    Returns:
        Conditions to append to a WHERE; a single empty one for a table with months.
    """
    if unit_of(connection, table) != DAY:
        return [sql.SQL("")]
    years = sorted({name[:4] for name in sizes(connection, table)})
    return [sql.SQL(" AND ts IN {}").format(sql.Literal(year)) for year in years]


def check(connection: psycopg.Connection, table: Table, captures: Mapping[str, Set[str]]) -> None:
    """Refuse captures whose packets lie in more months than the table can bear.

    Args:
        connection: to QuestDB.
        table: which table; it exists.
        captures: by capture key, the months in which its packets lie, as `2023-11`.

    Raises:
        Scattered: one of them does; nothing is loaded.
    """
    for key, months in captures.items():
        if len(months) > MAX_MONTHS_PER_CAPTURE:
            raise Scattered(
                f"{key}: its packets lie in {len(months):,} different months, {min(months)} to "
                f"{max(months)}, and a capture may have at most {MAX_MONTHS_PER_CAPTURE}, because "
                "each takes 90 files of QuestDB; if its times are wrong, move them with "
                "`editcap -t`; else cut it with `editcap -A START -B STOP`, or load a part of it "
                "with `mt-pipeline ingest --filter 'frame.time >= \"2023-01-01\"'`"
            )
    unit, present = unit_of(connection, table) or DAY, set(sizes(connection, table))
    new = set().union(*captures.values()) - {name[: len("2023-11")] for name in present}
    count = len(present) + len(new) * unit.per_month
    if not new or count <= unit.max_partitions:
        return
    key = max(captures, key=lambda capture: len(captures[capture] & new))
    raise Scattered(
        f"{key}: {table.name} would have {count:,} partitions by time, and QuestDB bears "
        f"{unit.max_partitions}: {_cure(connection, table, unit)}; then launch the capture again"
    )


def _cure(connection: psycopg.Connection, table: Table, unit: Unit) -> str:
    if unit == DAY:
        return (
            f"{table.name} is still cut into days: make room on the disk, then run "
            "`mt-pipeline compact`, which cuts it into months"
        )
    query = sql.SQL(_WIDEST).format(sql.Identifier(table.name))
    widest, months = connection.execute(query).fetchone() or ("", 0)
    return (
        f"`mt-pipeline purge --capture` what you can spare, such as {widest} with its {months:,} "
        "months, then `mt-pipeline compact`"
    )
