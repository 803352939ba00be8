"""The rate limit: exact in one process, shared by several, and harmed by nothing."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mt_pipeline.enrichment.netify.rate_limit import SharedRate
from mt_pipeline.enrichment.provider import ProviderStopped
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.postgres import as_argument

CALLER = """
import random, sys, time
from mt_pipeline.enrichment.netify.rate_limit import SharedRate
from mt_pipeline_tests.postgres import place_of
rate = SharedRate(place_of(sys.argv[1]), per_second=float(sys.argv[2]))
end = time.time() + float(sys.argv[3])
while True:
    rate.wait()
    if time.time() > end:
        break
    print(time.time())
    time.sleep(random.uniform(0, 0.4))
"""


@pytest.fixture
def rates(cache: Path | Postgres) -> Path | Postgres:
    return cache / "rate.sqlite" if isinstance(cache, Path) else cache


def calls_of(
    place: Path | Postgres, *, processes: int, per_second: float, seconds: float
) -> list[float]:
    command = [sys.executable, "-c", CALLER, as_argument(place), str(per_second), str(seconds)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        for _ in range(processes)
    ]
    printed = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * processes
    assert all(printed), "every process got through"
    return sorted(float(line) for text in printed for line in text.split())


def most_in_a_window(moments: list[float], seconds: float) -> int:
    return max(
        sum(1 for other in moments if moment <= other < moment + seconds) for moment in moments
    )


def test_so_many_calls_a_second_and_no_more_over_all_processes(rates):
    """Two processes that together would make about ten calls a second."""
    calls = calls_of(rates, processes=2, per_second=5, seconds=4)
    # A call is printed a moment after it was counted, so it may show in the next second.
    assert most_in_a_window(calls, 1) <= 6
    assert 10 <= len(calls) <= 22


def test_less_than_one_call_a_second(rates):
    rate = SharedRate(rates, per_second=0.5)
    began = time.monotonic()
    rate.wait()
    rate.wait()
    assert 1.9 <= time.monotonic() - began < 4


def test_the_limit_outlives_its_process(rates):
    for expected in (0, 1):
        rate = SharedRate(rates, per_second=0.5)
        began = time.monotonic()
        rate.wait()
        assert (time.monotonic() - began > 1) == expected


def test_a_clock_that_was_set_back_does_not_stop_anybody(tmp_path):
    path = tmp_path / "rate.sqlite"
    rate = SharedRate(path, per_second=1)
    rate.wait()
    with closing(sqlite3.connect(path)) as file, file:
        later = "UPDATE hold SET since = since + 3600, until = until + 3600"
        assert file.execute(later).rowcount == 1
    began = time.monotonic()
    rate.wait()
    assert time.monotonic() - began < 3


def test_old_calls_do_not_pile_up(tmp_path):
    path = tmp_path / "rate.sqlite"
    rate = SharedRate(path, per_second=50)
    for _ in range(150):
        rate.wait()
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM hold").fetchone()[0] == 1


def test_the_file_of_an_earlier_release_is_taken_over_with_its_hold(tmp_path):
    path, now = tmp_path / "rate.sqlite", time.time()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(
            "CREATE TABLE hold (one INTEGER PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL)"
        )
        file.execute("INSERT INTO hold VALUES (1, ?, ?)", (now - 60, now + 3600))
        file.execute("CREATE TABLE rate_bucket (name VARCHAR, item_timestamp INTEGER)")
        file.execute("INSERT INTO rate_bucket VALUES ('call', ?)", (int(now * 1000),))
    rate = SharedRate(path, per_second=1000)
    with pytest.raises(ProviderStopped, match="wants no request before"):
        rate.wait(longest_hold=60)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE hold SET until = ?", (now,))
    rate.wait(longest_hold=60)


def test_a_slow_rate_of_an_earlier_run_does_not_slow_the_next(rates):
    SharedRate(rates, per_second=0.001).wait()
    began = time.monotonic()
    SharedRate(rates, per_second=10).wait()
    assert time.monotonic() - began < 3


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "rate.sqlite"
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(ProviderStopped, match=r"rate\.sqlite.*not a database.*remove it"):
        SharedRate(path, per_second=1).wait()


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_refused(tmp_path, rate):
    with pytest.raises(ValueError, match="lets nothing pass"):
        SharedRate(tmp_path / "rate.sqlite", per_second=rate)


def test_a_hold_of_a_server_holds_all(rates):
    SharedRate(rates, per_second=1000).hold(3600)
    with pytest.raises(ProviderStopped, match="wants no request before"):
        SharedRate(rates, per_second=1000).wait(longest_hold=60)
