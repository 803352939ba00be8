"""After an outage, a capture is tried again, and fails only if it may be the cause."""

import errno
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import duckdb
import psycopg
import pytest
import sqlalchemy as sa

from mt_pipeline.backends.loads import (
    Damaged,
    FlowsDiffer,
    LoadFailed,
    Lost,
    NameTaken,
    Refused,
    Stored,
    Suspended,
    Unreachable,
)
from mt_pipeline.backends.questdb.server_errors import DidNotStart
from mt_pipeline.captures.identity import CaptureChangedError, CaptureUnreadableError, capture_at
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.outages import FIRST_PAUSE, LONGEST_PAUSE, MOST_RETURNS, pause
from mt_pipeline.captures.records import LedgerError, State
from mt_pipeline.enrichment.answers.database import StoreError
from mt_pipeline.pipeline.causes import is_outage, is_suspect
from mt_pipeline.pipeline.failures import AGAIN, is_interrupt
from mt_pipeline.settings import SettingsError
from mt_pipeline.tshark.errors import (
    FilterError,
    NotACapture,
    TsharkFailed,
    TsharkKilled,
    TsharkMissing,
    TsharkTooOld,
)
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.defs.test_sensors import Watch
from mt_pipeline_tests.pipelines import PACKETS, PASSWORD, Lab, open_lab, wrapper
from mt_pipeline_tests.soaking.servers import Spare


def because_of(error: Exception, cause: Exception) -> Exception:
    """Make an error that was raised for another, `from None` or not."""
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(
            Unreachable("away"),
            Refused("password"),
            Lost("away"),
            Suspended("suspended"),
            Damaged("pages"),
            DidNotStart("java"),
        ),
        *(
            LedgerError("busy"),
            StoreError("disk"),
            sa.exc.OperationalError("INSERT", {}, Exception("database is locked")),
        ),
        *(
            TsharkMissing("no"),
            TsharkTooOld("old"),
            TsharkKilled("killed"),
            SettingsError("wrong"),
            MemoryError(),
        ),
        *(
            OSError(number, "x")
            for number in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EMFILE,
                errno.ENFILE,
                errno.ENOMEM,
                errno.EIO,
                errno.EROFS,
            )
        ),
        *(
            duckdb.IOException("IO Error: No space left on device"),
            duckdb.OutOfMemoryException("x"),
        ),
        LoadFailed("QuestDB refuses rows: could not write [errno=28]; is its disk full?"),
        psycopg.DatabaseError("[24] could not open file"),
        TsharkFailed("lab/a.pcap", stderr="The file could not be opened: Too many open files."),
        because_of(
            CaptureUnreadableError("it cannot be read"),
            OSError(errno.EMFILE, "Too many open files"),
        ),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:60],
)
def test_what_is_no_fault_of_the_capture(error: Exception):
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        *(
            CaptureError("empty"),
            CaptureChangedError("grows"),
            NotACapture("text"),
            FilterError("typo"),
            NameTaken("a view of yours"),
        ),
        *(
            TsharkFailed("stopped with status 2", stderr="damaged"),
            LoadFailed("refuses rows"),
            duckdb.ConversionException("x"),
            ZeroDivisionError(),
        ),
        *(OSError(errno.EACCES, "x"), OSError(errno.ENAMETOOLONG, "x")),
        NotACapture(
            "not a capture: /inbox/No space left on device.pcap", stderr="it isn't a capture file"
        ),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:60],
)
def test_what_the_capture_has_to_answer_for(error: Exception):
    assert not is_outage(error)
    assert not is_suspect(error)


NAMES = [
    "No space left on device",
    "Too many open files",
    "[24] ",
    "errno=28]",
    "Query interrupted",
    "cut short in the middle of a packet",
    "isn't a capture file",
    "failed to allocate",
    "permission",
    "damaged or corrupt",
]
"""What decides elsewhere what an error means."""


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_capture_says_nothing_of_its_errors(name: str):
    key = f"{name}/{name}.pcap"
    for error in (
        FlowsDiffer(f"{key}: the flows have 0 packets", Stored()),
        duckdb.IOException(f'IO Error: Cannot open "/data/{key}": it is no Parquet file'),
        LoadFailed(f"{key}: refuses rows"),
        CaptureChangedError(f"/inbox/{key} changed while it was read"),
    ):
        assert not is_outage(error, key), error
        assert not is_interrupt(error), error


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make a capture whose second half cannot be read."""
    frames = dns() * 20
    whole = write_pcap(tmp_path_factory.mktemp("whole") / "x.pcap", timed(frames)).read_bytes()
    half = 24 + sum(16 + len(frame) for frame in frames[:20])
    return whole[:half] + b"\xff" * 16 + whole[half + 16 :]


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_capture_fails_with_its_cure_whatever_its_name(
    lab: Lab, damaged: bytes, tmp_path: Path, name: str, *, forks: bool
):
    key = f"named {forks}/{name}.pcap"
    lab.put(key, damaged)
    settings = {} if forks else {"tshark": str(wrapper(tmp_path / "tshark", 'exec "$TSHARK" "$@"'))}

    ran = lab.run(key, workspace=lab.workspace(**settings))

    assert not ran.success
    assert lab.record(key).state is State.FAILED
    assert f"{name}.pcap" in ran.failure
    assert "keeps the packets before the damage" in ran.failure


def test_each_pause_is_twice_as_long_up_to_the_longest_and_a_clock_that_was_set_back_ends_it():
    assert [pause(returned, 1000, 1000) for returned in (0, 1, 2, 3, 7, 10_000)] == [
        0,
        FIRST_PAUSE,
        30,
        60,
        LONGEST_PAUSE,
        LONGEST_PAUSE,
    ]
    assert pause(1, 1000, 1000 + FIRST_PAUSE) == 0
    assert pause(5, 1000, 999) == 0


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spare]:
    server = Spare(tmp_path_factory.mktemp("spare") / "questdb", user="admin", password=PASSWORD)
    yield server
    server.stop()


@pytest.fixture
def watch(lab: Lab, tmp_path: Path) -> Watch:
    return Watch(lab, tmp_path / "data", settle=0)


def many_times(data: Path) -> None:
    """Set the count of returns, so that captures wait the longest time, even on a busy machine."""
    with closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE captures SET returned = 10")
        ledger.commit()


def later(data: Path, seconds: float) -> None:
    """Let whatever was given back have been so earlier."""
    with closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        ledger.execute(
            "UPDATE captures SET returned_at = returned_at - ?, changed_at = changed_at - ?",
            (seconds, seconds),
        )
        ledger.commit()


def test_a_capture_at_work_when_questdb_is_killed_is_given_back_and_taken_up_again(
    spare: Spare, tmp_path: Path
):
    """It once had failed, and stayed so when QuestDB was back."""
    data, key = tmp_path / "data", "kitchen/killed.pcap"
    server = spare.address
    with open_lab(data, server) as own:
        deadly = wrapper(tmp_path / "tshark", f'"$TSHARK" "$@"; kill -9 {server.pid}')
        own.put(key)
        ran = own.run(key, workspace=own.workspace(tshark=str(deadly)))

        record = own.record(key)
        assert not ran.success
        assert (record.state, record.attempts, record.returned) == (State.WAITING, 0, 1)
        assert "QuestDB does not answer" in record.error
        assert ran.failure == f"{record.error}; {AGAIN}"
        watch = Watch(own, data, settle=0)
        many_times(data)
        result = watch.look()
        assert isinstance(result, dg.SkipReason)
        assert "QuestDB does not answer" in result.skip_message
        spare.start_again()
        later(data, LONGEST_PAUSE)
        assert watch.keys() == [key]
        assert own.run(key).success
        assert (own.record(key).state, own.record(key).returned, own.record(key).error) == (
            State.DONE,
            0,
            None,
        )
        assert len(own.rows("kitchen")) == PACKETS


def returned(watch: Watch, key: str, *, suspect: bool = False) -> State:
    """Have a run take up a capture, and an outage give it back."""
    watch.claim(key)
    return watch.ledger.give_back(key, outage=f"{key}: the disk is full", suspect=suspect)


def test_an_outage_that_lasts_fails_nothing_and_is_tried_with_one_capture_at_a_time(watch: Watch):
    keys = [f"kitchen/{name}.pcap" for name in "abc"]
    for key in keys:
        watch.put(key)
    assert sorted(watch.keys()) == keys
    for key in keys:
        assert returned(watch, key) is State.WAITING
    many_times(watch.workspace.options.data_dir)

    result = watch.look()
    assert isinstance(result, dg.SkipReason)
    assert re.fullmatch(
        r"0 of 3 captures in; they wait for \d+ s more: kitchen/c\.pcap: the disk is full",
        result.skip_message,
    )
    for _ in range(10):
        later(watch.workspace.options.data_dir, LONGEST_PAUSE)
        result = watch.look()
        assert isinstance(result, dg.SensorResult)
        [request] = result.run_requests
        assert returned(watch, request.partition_key) is State.WAITING
        assert isinstance(watch.look(), dg.SkipReason)


def test_after_an_outage_all_are_asked_for_again(watch: Watch):
    keys = [f"kitchen/{name}.pcap" for name in "abc"]
    for key in keys:
        watch.put(key)
    watch.keys()
    for key in keys:
        returned(watch, key)
    later(watch.workspace.options.data_dir, FIRST_PAUSE)

    first = watch.look()
    assert isinstance(first, dg.SensorResult)
    [request] = first.run_requests
    watch.finish(request.partition_key)

    assert sorted([*watch.keys(), request.partition_key]) == keys


@pytest.mark.parametrize("suspect", [True, False])
def test_a_capture_that_may_be_the_cause_has_failed_in_the_end(watch: Watch, suspect: bool):
    """It crashes QuestDB at each load, or fills the disk each time while all others are loaded."""
    watch.put("kitchen/deadly.pcap")
    watch.put("kitchen/other.pcap")
    times = MOST_RETURNS if suspect else MOST_RETURNS + 1
    for number in range(1, times + 1):
        state = returned(watch, "kitchen/deadly.pcap", suspect=suspect)
        watch.finish("kitchen/other.pcap")
        assert state is (State.FAILED if number == times else State.WAITING), number

    error = watch.ledger.get("kitchen/deadly.pcap").error
    assert error.startswith(
        "kitchen/deadly.pcap: the disk is full. "
        "This happened 3 times to kitchen/deadly.pcap, which may be the cause"
    )


def test_a_person_who_takes_up_what_an_outage_gave_back_does_not_wait(watch: Watch):
    watch.put("kitchen/by hand.pcap")
    returned(watch, "kitchen/by hand.pcap")

    watch.ledger.take(capture_at(watch.inbox, "kitchen/by hand.pcap"))

    record = watch.ledger.get("kitchen/by hand.pcap")
    assert (record.returned, record.error) == (0, None)
    assert record.requested_at is not None


def test_what_an_outage_gave_back_is_done_again_by_the_command_for_what_failed(
    terminal: Callable[..., object], lab: Lab
):
    lab.put("given back/a.pcap")
    assert not lab.run("given back/a.pcap", workspace=lab.workspace(questdb_pg_port=1)).success
    assert lab.record("given back/a.pcap").state is State.WAITING

    output = terminal("ingest", "--failed", "--name", "given back")

    assert (output.code, output.out) == (
        0,
        "given back/a.pcap: 2 packets, 2 rows in packets_given_back\n",
    )
