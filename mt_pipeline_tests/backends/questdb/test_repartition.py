"""The days of an older release become months, and no row is lost, whatever is killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from mt_pipeline.backends.loads import Exhausted, Load, Scattered
from mt_pipeline.backends.questdb import loader, removal
from mt_pipeline.backends.questdb.compact import bring_up_to_date, compact
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table
from mt_pipeline.backends.questdb.locks import FileLoadingLock
from mt_pipeline.backends.questdb.partitions import sizes
from mt_pipeline.backends.questdb.stored_counts import stored_counts
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS
from mt_pipeline_tests.backends.questdb.parts import START, packet, packets, select
from mt_pipeline_tests.backends.questdb.parts import load as load_packets
from mt_pipeline_tests.soaking.servers import Spare

DAY = 86_400
MAPS = int(Path("/proc/sys/vm/max_map_count").read_text())

_KILLED = """
import os, signal, sys
from pathlib import Path
from mt_pipeline.backends.questdb.compact import bring_up_to_date
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.locks import FileLoadingLock

_, host, http, pg, lock, left = sys.argv
steps = iter(range(int(left)))

def echo(step):
    if next(steps, None) is None:
        print(step, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

database = Database(host, int(http), int(pg), "admin", "quest")
bring_up_to_date(database, FileLoadingLock(Path(lock)), echo=echo)
"""


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Spare]:
    """A server with the tables of an older release."""
    server = Spare(tmp_path / "questdb", user="admin", password="quest")
    older(server.database)
    yield server
    server.stop()


@pytest.fixture
def lock(tmp_path: Path) -> FileLoadingLock:
    return FileLoadingLock(tmp_path / "loading.lock")


def older(database: Database) -> None:
    """Make the tables as they were: a partition a day."""
    with database.connect() as connection:
        for table in (PACKETS, FLOWS, CAPTURES):
            ensure_table(connection, replace(table, partition_by="DAY"))


def load(database: Database, key: str, *, day: int, count: int = 5) -> None:
    times = {"frame_time_epoch": f"{START + day * DAY}.5"}
    load_packets(database, packets(count, **times), capture=key, experiment=key.partition("/")[0])


def rows(database: Database, experiment: str) -> list[tuple]:
    return select(
        database,
        f"SELECT ts, capture, frame_number, frame_len FROM packets_{experiment} "
        "ORDER BY ts, capture, frame_number",
    )


def cut(database: Database) -> dict[str, str]:
    return dict(
        select(database, "SELECT table_name, partitionBy FROM tables() WHERE table_type <> 'V'")
    )


def many_days(database: Database, days: int) -> None:
    """Put a packet a day into the table, as one capture."""
    with database.connect(statement_seconds=300) as connection:
        ensure_view(connection, "wide")
        connection.execute(
            "INSERT ATOMIC INTO captured_packets "
            "(ts, capture, frame_number, experiment, frame_len, load, gone) "
            "SELECT cast(x * 86400000000 AS TIMESTAMP), "
            "'wide/wide.pcap', x::int, 'wide', 60, 1, false "
            f"FROM long_sequence({days})"
        )
        connection.execute("SELECT wait_wal_table('captured_packets')")


def test_days_become_months_and_a_kill_at_any_step_hurts_nothing(
    spare: Spare, lock: FileLoadingLock
):
    server, steps = spare.database, list[str]()

    while True:
        again(server)
        expected = rows(server, "lab")
        arguments = (server.host, server.http_port, server.pg_port, lock.path, len(steps))
        killed = subprocess.run(
            [sys.executable, "-c", _KILLED, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert rows(server, "lab") == expected, steps
        assert len(rows(server, "other")) == 5
        bring_up_to_date(server, lock)
        assert cut(server) == {"captured_packets": "MONTH", "flows": "MONTH", "captures": "YEAR"}
        assert rows(server, "lab") == expected
        assert select(server, "SELECT count(), count(note) FROM captured_packets") == [(20, 0)]
        assert select(server, "SELECT capture, state FROM captures") == [("lab/a.pcap", "done")]
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        steps.append(killed.stdout.strip())

    assert len(steps) > 20
    for table in ("captured_packets", "captures"):
        assert f"{table}: it is dropped, and created anew" in steps
        assert f"{table}: 2024 is copied back" in steps or table == "captured_packets"
    load(server, "lab/a.pcap", day=0, count=7)
    assert len(rows(server, "lab")) == 17


def again(database: Database) -> None:
    """Create the tables of an older release, with captures on several days and some gone rows."""
    with database.connect() as connection:
        for name, kind in connection.execute(
            "SELECT table_name, table_type FROM tables()"
        ).fetchall():
            connection.execute(f"DROP {'VIEW' if kind == 'V' else 'TABLE'} {name}")
    older(database)
    for key, day in {"lab/a.pcap": 0, "lab/b.pcap": 1, "lab/c.pcap": 40, "other/d.pcap": 1}.items():
        load(database, key, day=day)
    load(database, "lab/gone.pcap", day=0)
    removal.remove(database, "lab/gone.pcap")
    with database.connect() as connection:  # a column of the user's own
        connection.execute("ALTER TABLE captured_packets ADD COLUMN note VARCHAR")
        connection.execute(
            "INSERT INTO captures (ts, capture, state) VALUES ('2024-01-01', 'lab/a.pcap', 'done')"
        )
        connection.execute("SELECT wait_wal_table('captures')")


def test_readers_of_views_see_every_row_meanwhile(spare: Spare, lock: FileLoadingLock):
    server = spare.database
    for day in (0, 1, 40):
        load(server, f"lab/{day}.pcap", day=day)
    seen = set[tuple]()

    def echo(_: str) -> None:
        seen.update(select(server, "SELECT count(), sum(frame_len) FROM packets_lab"))

    bring_up_to_date(server, lock, echo=echo)

    assert seen == {(15, 900)}
    assert cut(server)["captured_packets"] == "MONTH"


def test_without_room_for_a_copy_the_days_stay_and_go_on_working(
    spare: Spare, lock: FileLoadingLock
):
    server, steps = spare.database, list[str]()
    load(server, "lab/a.pcap", day=0)

    bring_up_to_date(replace(server, folder=Path("/proc")), lock, echo=steps.append)

    assert "captured_packets keeps its 1 partitions: to cut it by month," in steps[0]
    assert cut(server)["captured_packets"] == "DAY"
    load(server, "lab/b.pcap", day=1)
    assert removal.remove(server, "lab/a.pcap") == 5
    compact(replace(server, folder=Path("/proc")), lock)
    assert {name for name in sizes_of(server)} == {"2023-11-15"}
    assert len(rows(server, "lab")) == 5


def sizes_of(database: Database) -> list[str]:
    with database.connect() as connection:
        return list(sizes(connection, PACKETS))


@pytest.mark.skipif(MAPS > 70_000, reason="Linux gives QuestDB more maps here than 1,600 days take")
def test_more_days_than_questdb_can_map_are_named_no_damage_and_are_purged_after_the_next_start(
    spare: Spare, lock: FileLoadingLock
):
    server = spare.database
    load(server, "lab/a.pcap", day=0)
    many_days(server, 1_600)
    everything = "SELECT sum(frame_len) FROM captured_packets"
    with pytest.raises(psycopg.DatabaseError, match="could not mmap"):
        select(server, everything)
    with (
        pytest.raises(Scattered, match=r"still cut into days.*`mt-pipeline compact`"),
        server.connect(),
    ):
        loader.load(
            server, [Load("lab/b.pcap", "lab", iter(()), iter(()), months=frozenset({"2031-01"}))]
        )
    assert stored_counts(server, thorough=True)["wide/wide.pcap"].rows == 1_600
    spare.kill()
    spare.start_again()

    bring_up_to_date(server, lock)

    assert select(server, everything) == [(1_600 * 60 + 5 * 60,)]
    assert removal.remove(server, "wide/wide.pcap") == 1_600
    compact(server, lock)
    assert sizes_of(server) == ["2023-11"]
    assert stored_counts(server, thorough=True).keys() == {"lab/a.pcap"}


def test_a_lack_of_maps_is_never_taken_for_damage():
    from mt_pipeline.backends.questdb.stored_counts import _check_exhausted

    with pytest.raises(Exhausted, match="no row is lost, and none must be dropped"):
        _check_exhausted(
            psycopg.DatabaseError(
                "[12] could not mmap  [size=4, offset=0, fd=1, memUsed=37011561, fileLen=4]"
            )
        )


def test_a_capture_of_too_many_months_is_refused_by_name_and_leaves_room_for_others(
    spare: Spare, lock: FileLoadingLock
):
    server = spare.database
    bring_up_to_date(server, lock)
    months = frozenset(f"{1970 + number // 12}-{number % 12 + 1:02}" for number in range(1_600))

    def refused(key: str, months: frozenset[str]) -> str:
        with pytest.raises(Scattered) as error:
            loader.load(server, [Load(key, "lab", iter(()), iter(()), months=months)])
        return str(error.value)

    assert (
        "lab/a.pcap: its packets lie in 1,600 different months, 1970-01 to 2103-04, "
        "and a capture may have at most 150, " in refused("lab/a.pcap", months)
    )
    assert "editcap -t" in refused("lab/a.pcap", months)
    for number in range(3):
        wide = [
            packet(at + 1, frame_time_epoch=f"{(number * 140 + at) * 31 * DAY}.5")
            for at in range(131)
        ]
        load_packets(server, wide, capture=f"lab/{number}.pcap", experiment="lab")
    more = frozenset(f"{2040 + number}-01" for number in range(20))
    message = refused("lab/b.pcap", more)
    assert "captured_packets would have 413 partitions by time, and QuestDB bears 400" in message
    assert "`mt-pipeline purge --capture` what you can spare, such as lab/" in message
    assert "with its 131 months, then `mt-pipeline compact`" in message
