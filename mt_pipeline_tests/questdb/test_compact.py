"""Disk is given back, and nobody who reads or loads meanwhile loses anything."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_pipeline.questdb import loader
from mt_pipeline.questdb.compact import Compacted, compact, loading
from mt_pipeline.questdb.database import Database
from mt_pipeline_tests.questdb.parts import START, packets
from mt_pipeline_tests.questdb.parts import load as load_packets
from mt_pipeline_tests.soaking.servers import Spare

DAY = 86_400


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Database]:
    spare = Spare(tmp_path / "questdb", user="admin", password="quest")
    yield spare.database
    spare.stop()


def load(database: Database, key: str, *, day: int) -> None:
    """Load ten packets of a day."""
    load_packets(database, packets(10, frame_time_epoch=f"{START + day * DAY}.5"), capture=key, experiment="days")


def count(database: Database) -> int:
    return loader.count(database, experiment="days")


def test_days_all_of_whose_rows_are_gone_are_given_back_while_others_read(server: Database, tmp_path: Path):
    lock = tmp_path / "loading.lock"
    for key, day in {"days/a.pcap": 0, "days/b.pcap": 0, "days/c.pcap": 1, "days/d.pcap": 400}.items():
        load(server, key, day=day)
    for key in ("days/a.pcap", "days/c.pcap"):
        assert loader.remove(server, key) == 10
    seen, ended = set(), threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(count(server))

    reader = threading.Thread(target=read)
    reader.start()
    said = compact(server, lock, dry_run=True)
    done = compact(server, lock)
    again = compact(server, lock)
    ended.set()
    reader.join()

    assert said == done
    assert done[0] == Compacted("captured_packets", days=1, rows=10, bytes=done[0].bytes, staying=10)
    assert done[0].bytes > 0
    assert again[0] == Compacted("captured_packets", days=0, rows=0, bytes=0, staying=10)
    assert seen == {20}
    load(server, "days/c.pcap", day=1)
    assert count(server) == 30


def test_it_waits_for_loads_that_are_under_way_and_those_that_come_after_wait_for_it(server: Database, tmp_path: Path):
    lock, order = tmp_path / "loading.lock", list[str]()
    compacting = threading.Thread(target=lambda: (compact(server, lock), order.append("compacted")))
    with loading(lock), loading(lock):  # two loads at once
        compacting.start()
        compacting.join(1)
        order.append("loaded")
    compacting.join(120)
    with loading(lock):
        order.append("loaded")

    assert order == ["loaded", "compacted", "loaded"]
