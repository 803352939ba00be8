"""`compact` frees disk, and readers and loads lose nothing meanwhile, whatever is killed."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import removal
from mt_pipeline.backends.questdb.compact import Compacted, NoRoom, compact, undisturbed
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.locks import FileLoadingLock
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline_tests.backends.questdb.parts import START, packets, select
from mt_pipeline_tests.backends.questdb.parts import load as load_packets
from mt_pipeline_tests.soaking.servers import Spare

DAY = 86_400

_KILLED = """
import os, signal, sys
from pathlib import Path
from mt_pipeline.backends.questdb.compact import compact
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.locks import FileLoadingLock

_, host, http, pg, lock, left = sys.argv
steps = iter(range(int(left)))

def echo(step):
    if next(steps, None) is None:
        print(step, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

database = Database(host, int(http), int(pg), "admin", "quest")
compact(database, FileLoadingLock(Path(lock)), echo=echo)
"""
"""Compacts, but is killed before a step."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spare]:
    server = Spare(tmp_path_factory.mktemp("compact") / "questdb", user="admin", password="quest")
    yield server
    server.stop()


@pytest.fixture
def spare(server: Spare) -> Iterator[Spare]:
    """The server of this module, empty."""
    yield server
    with server.database.connect() as connection:
        for (name,) in connection.execute("SELECT view_name FROM views()").fetchall():
            connection.execute(f"DROP VIEW {name}")
        for (name,) in connection.execute("SELECT table_name FROM tables()").fetchall():
            connection.execute(f"DROP TABLE {name}")


@pytest.fixture
def lock(tmp_path: Path) -> FileLoadingLock:
    return FileLoadingLock(tmp_path / "loading.lock")


def load(database: Database, key: str, *, day: int, count: int = 10) -> None:
    """Load packets of a day."""
    times = {"frame_time_epoch": f"{START + day * DAY}.5"}
    load_packets(database, packets(count, **times), capture=key, experiment=key.partition("/")[0])


def taken_out(database: Database, key: str, *, day: int, count: int = 10) -> None:
    """Leave rows of a capture that are gone."""
    load(database, key, day=day, count=count)
    assert removal.remove(database, key) == count


def rows(database: Database, experiment: str) -> list[tuple]:
    return select(
        database,
        f"SELECT ts, capture, frame_number, frame_len FROM packets_{experiment} "
        "ORDER BY ts, capture, frame_number",
    )


def in_all(database: Database) -> int:
    """Count the rows of the table, those that are gone too."""
    return select(database, "SELECT count() FROM captured_packets")[0][0]


def copies(database: Database) -> list[tuple]:
    """List the tables beside, and the views that do not read the table itself."""
    tables = select(
        database,
        "SELECT table_name FROM tables() "
        "WHERE table_name LIKE 'beside%%' OR table_name LIKE 'filling%%'",
    )
    return tables + select(
        database,
        "SELECT view_name FROM views() WHERE NOT view_sql LIKE '%%FROM \"captured_packets\" %%'",
    )


@contextmanager
def reading(database: Database, experiment: str, *, patient: bool = False) -> Iterator[set[object]]:
    """Read a view repeatedly, and collect the results and errors.

    A patient reader ignores a server that does not answer.
    """
    seen: set[object] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.wait(0.1):
            try:
                with database.connect() as connection:
                    while not ended.wait(0.01):
                        seen.add(
                            tuple(
                                connection.execute(
                                    f"SELECT count(), sum(frame_len) FROM packets_{experiment}"
                                ).fetchone()
                                or ()
                            )
                        )
            except psycopg.Error as error:
                seen.add(str(error))
            except BackendError as error:
                if not patient:
                    seen.add(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        ended.set()
        reader.join()


def test_the_disk_of_rows_that_are_gone_is_given_back_while_others_read(
    spare: Spare, lock: FileLoadingLock
):
    server = spare.database
    for key, day in {
        "days/a.pcap": 0,
        "days/b.pcap": 1,
        "others/c.pcap": 0,
        "days/d.pcap": 400,
        "apart/e.pcap": 400,
    }.items():
        load(server, key, day=day, count=2_000)
    taken_out(server, "days/gone.pcap", day=0, count=6_000)
    taken_out(server, "days/whole.pcap", day=60)
    before = {experiment: rows(server, experiment) for experiment in ("days", "others", "apart")}
    assert in_all(server) == 16_010

    def report(step: str) -> None:
        if step.endswith("is dropped"):  # a report makes sure of its view at whatever moment
            with server.connect() as connection:
                ensure_view(connection, "days")

    with reading(server, "days") as seen:
        planned = compact(server, lock, dry_run=True)[0]
        assert in_all(server) == 16_010
        done = compact(server, lock, echo=report)[0]
    again = compact(server, lock)[0]

    assert seen == {(6_000, 360_000)}
    assert in_all(server) == 10_000
    assert {experiment: rows(server, experiment) for experiment in before} == before
    assert (
        (planned.partitions, planned.rewritten, planned.rows)
        == (done.partitions, done.rewritten, done.rows)
        == (2, 1, 6_010)
    )
    assert planned.bytes > 0
    assert planned.needed > 0
    assert again == Compacted(
        "captured_packets", partitions=0, rewritten=0, rows=0, bytes=0, needed=0
    )
    assert copies(server) == []
    load(server, "days/gone.pcap", day=0)
    assert len(rows(server, "days")) == 6_010


def test_a_kill_at_any_step_loses_nothing_and_the_next_load_makes_it_good(
    spare: Spare, lock: FileLoadingLock
):
    server = spare.database
    for key, day in {"days/a.pcap": 0, "days/b.pcap": 1, "others/c.pcap": 0}.items():
        load(server, key, day=day)
    expected, steps = rows(server, "days"), list[str]()

    with reading(server, "days") as seen:
        while True:
            taken_out(server, "others/gone.pcap", day=0)
            where = (server.host, server.http_port, server.pg_port, lock.path, len(steps))
            killed = subprocess.run(
                [sys.executable, "-c", _KILLED, *map(str, where)],
                capture_output=True,
                text=True,
                check=False,
            )
            if killed.returncode == 0:
                break
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            steps.append(killed.stdout.strip())
            assert rows(server, "days") == expected
            with undisturbed(server, lock):
                assert copies(server) == []
                assert len(rows(server, "others")) == 10
                load(server, "others/c.pcap", day=0)
            assert rows(server, "days") == expected

    assert seen == {(20, 1_200)}
    assert in_all(server) == 30
    assert [
        step.partition("captured_packets")[2].removeprefix(": ")
        for step in steps
        if "2023-11 is" in step
    ] == [
        "2023-11 is copied",
        "2023-11 is dropped",
        "2023-11 is copied back",
    ]
    assert len(steps) >= 9


@pytest.mark.parametrize("step", ["is complete", "2023-11 is copied back"])
def test_a_server_that_is_killed_meanwhile_loses_nothing(
    spare: Spare, lock: FileLoadingLock, step: str
):
    server = spare.database
    load(server, "days/a.pcap", day=0)
    load(server, "days/b.pcap", day=1)
    taken_out(server, "days/gone.pcap", day=0)
    expected = rows(server, "days")

    def echo(message: str) -> None:
        if message.endswith(step):
            spare.kill()

    with reading(server, "days", patient=True) as seen:
        with pytest.raises((psycopg.Error, BackendError)):
            compact(server, lock, echo=echo)
        spare.start_again()
        assert compact(server, lock)[0].rewritten <= 1

    assert rows(server, "days") == expected
    assert {result for result in seen if isinstance(result, tuple)} == {(20, 1_200)}
    assert in_all(server) == 20
    assert copies(server) == []


def test_it_waits_for_loads_that_are_under_way_and_those_that_come_after_wait_for_it(
    spare: Spare, lock: FileLoadingLock
):
    server, order = spare.database, list[str]()
    taken_out(server, "days/a.pcap", day=0)
    load(server, "days/b.pcap", day=0)
    late = threading.Event()

    def echo(step: str) -> None:
        if step.endswith("is dropped"):
            late.set()
            loading.join(1)
            order.append("dropped")

    def load_late() -> None:
        late.wait()
        with undisturbed(server, lock):
            order.append("loaded late")
            load(server, "days/c.pcap", day=0)

    compacting = threading.Thread(
        target=lambda: (compact(server, lock, echo=echo), order.append("compacted"))
    )
    loading = threading.Thread(target=load_late)
    loading.start()
    with undisturbed(server, lock), undisturbed(server, lock):  # two loads at once
        compacting.start()
        compacting.join(1)
        order.append("loaded")
    compacting.join(120)
    loading.join(120)

    assert order[0] == "loaded"
    assert order.index("dropped") < order.index("loaded late")
    assert len(rows(server, "days")) == 20


def test_without_room_for_the_copies_nothing_is_begun(spare: Spare, lock: FileLoadingLock):
    server = spare.database
    load(server, "days/a.pcap", day=0)
    taken_out(server, "days/b.pcap", day=0)

    with pytest.raises(
        NoRoom, match=r"bytes must be free for that meanwhile, but /proc has 0: make room"
    ):
        compact(replace(server, folder=Path("/proc")), lock)

    assert in_all(server) == 20
    assert copies(server) == []
