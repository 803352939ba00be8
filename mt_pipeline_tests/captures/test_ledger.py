"""The ledger knows what became of every capture, for several processes, through any kill."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from mt_pipeline.captures.database import UnknownCaptureError
from mt_pipeline.captures.experiments import Answers, Experiment
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.ledger import Ledger, State
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.rotation import Handover
from mt_pipeline.state.postgres import Postgres

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def ledger(place: Path | Postgres) -> Ledger:
    return Ledger(place)


def capture(key: str = "lab/a.pcap", size: int = 7) -> Capture:
    return Capture(key, Path("/inbox"), size, 11)


def waiting(ledger: Ledger, *keys: str) -> None:
    ledger.look(Walk([capture(key) for key in keys]), settle=0)


@contextmanager
def process(
    target: Callable[..., None], *args: object
) -> Iterator[multiprocessing.process.BaseProcess]:
    child = SPAWN.Process(target=target, args=args)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


def test_a_capture_goes_from_waiting_to_done(ledger):
    waiting(ledger, "lab/a.pcap")
    assert ledger.requested(["lab/a.pcap"]) == ["lab/a.pcap"]
    assert ledger.get("lab/a.pcap").requested_at is not None
    ledger.claim(capture(), run="r1", filter="tcp")
    assert (ledger.get("lab/a.pcap").state, ledger.get("lab/a.pcap").run) == (State.RUNNING, "r1")
    ledger.finish(
        "lab/a.pcap",
        sha256="ab",
        documents="a.ndjson.zst",
        packets=10,
        rows=9,
        skipped={"no time": 1},
        cut=True,
    )
    record = ledger.get("lab/a.pcap")
    assert (record.state, record.experiment, record.path, record.filter) == (
        State.DONE,
        "lab",
        "/inbox/lab/a.pcap",
        "tcp",
    )
    assert (record.size, record.mtime_ns, record.sha256, record.documents) == (
        7,
        11,
        "ab",
        "a.ndjson.zst",
    )
    assert (record.packets, record.rows, record.skipped, record.cut) == (
        10,
        9,
        {"no time": 1},
        True,
    )
    assert (record.error, record.requested_at) == (None, None)


def test_a_capture_nobody_saw_before_can_be_claimed(ledger):
    ledger.claim(capture("x.pcap"), run="r1")
    ledger.fail("x.pcap", "x.pcap: tshark died")
    assert [
        (status.key, status.state, status.error, status.skipped) for status in ledger.records()
    ] == [("x.pcap", State.FAILED, "x.pcap: tshark died", {})]


def test_success_takes_the_error_of_the_time_before_away(ledger):
    ledger.claim(capture(), run="r1")
    ledger.fail("lab/a.pcap", "disk full")
    ledger.claim(capture(), run="r2")
    assert ledger.get("lab/a.pcap").error is None
    ledger.finish("lab/a.pcap", sha256="ab", documents="d", packets=0, rows=0, skipped={})
    assert ledger.get("lab/a.pcap").error is None


def test_purge_takes_all_that_was_known_of_the_load_away(ledger):
    ledger.claim(capture(), run="r1")
    ledger.finish(
        "lab/a.pcap", sha256="ab", documents="d", packets=10, rows=9, skipped={"x": 1}, cut=True
    )
    ledger.purge("lab/a.pcap")
    record = ledger.get("lab/a.pcap")
    assert record.state == State.PURGED
    assert (
        record.sha256,
        record.documents,
        record.packets,
        record.rows,
        record.skipped,
        record.cut,
    ) == (None, None, None, None, {}, False)


def test_refusal_does_not_disturb_work_in_hand(ledger):
    waiting(ledger, "lab/a.pcap", "lab/b.pcap")
    ledger.claim(capture(), run="r1")
    for key in ("lab/a.pcap", "lab/b.pcap", "lab/c.pcap"):
        ledger.refuse(capture(key), f"{key} is empty")
    assert [(status.key, status.state, status.error) for status in ledger.records()] == [
        ("lab/a.pcap", State.RUNNING, None),
        ("lab/b.pcap", State.REFUSED, "lab/b.pcap is empty"),
        ("lab/c.pcap", State.REFUSED, "lab/c.pcap is empty"),
    ]


def test_verdicts_on_unknown_captures_are_errors(ledger):
    assert ledger.get("x") is None
    for verdict in (
        lambda: ledger.fail("x", "e"),
        lambda: ledger.purge("x"),
        lambda: ledger.give_back("x", outage="o"),
    ):
        with pytest.raises(UnknownCaptureError, match="x has no record"):
            verdict()


def test_unfinished_are_the_requested_and_the_running(ledger):
    waiting(ledger, "a", "b", "c", "d")
    ledger.requested(["a"])
    ledger.claim(capture("b"), run="r1")
    ledger.claim(capture("c"), run="r1")
    ledger.fail("c", "e")
    assert [record.key for record in ledger.unfinished()] == ["a", "b"]


def test_a_run_that_died_is_made_good_once_then_the_capture_has_failed(ledger):
    walk = Walk([capture()])
    for state in (State.WAITING, State.FAILED):
        assert ledger.look(walk, settle=0) == [capture()]
        ledger.requested(["lab/a.pcap"])
        ledger.claim(capture(), run="r7")
        assert ledger.retry(ledger.get("lab/a.pcap")) == state
    assert ledger.look(walk, settle=0) == []
    assert "lab/a.pcap: 2 runs ended without a result" in ledger.get("lab/a.pcap").error


def test_a_request_that_never_became_a_run_counts_for_nothing(ledger):
    waiting(ledger, "lab/a.pcap")
    for _ in range(5):
        assert ledger.requested(["lab/a.pcap"]) == ["lab/a.pcap"]
        assert ledger.retry(ledger.get("lab/a.pcap")) == State.WAITING
    assert ledger.get("lab/a.pcap").attempts == 0


def test_a_verdict_gives_back_the_second_try(ledger):
    for _ in range(3):
        ledger.claim(capture(), run="r1")
        assert ledger.retry(ledger.get("lab/a.pcap")) == State.WAITING
        ledger.claim(capture(), run="r2")
        ledger.finish("lab/a.pcap", sha256="ab", documents="d", packets=1, rows=1, skipped={})


def test_what_has_a_verdict_is_not_made_good(ledger):
    ledger.claim(capture(), run="r1")
    seen = ledger.get("lab/a.pcap")
    ledger.fail("lab/a.pcap", "not a capture")
    for record in (seen, ledger.get("lab/a.pcap")):
        assert ledger.retry(record) is None
    assert ledger.get("lab/a.pcap").error == "not a capture"


def test_what_somebody_works_on_is_not_made_good(ledger):
    ledger.claim(capture(), run="r1")
    with ledger.lock("lab/a.pcap") as record:
        assert ledger.retry(record) is None
    assert ledger.get("lab/a.pcap") == record
    assert ledger.retry(record) is State.WAITING


def test_a_lock_hands_over_the_record_as_it_is_now(ledger):
    with ledger.lock("lab/a.pcap") as record:
        assert record is None
    ledger.claim(capture(), run="r1")
    with ledger.lock("lab/a.pcap") as record:
        assert record == ledger.get("lab/a.pcap")


def test_ten_thousand_files_at_once(ledger):
    keys = [f"lab/{number:05}.pcap" for number in range(10_000)]
    waiting(ledger, *keys)
    assert [
        capture.key for capture in ledger.look(Walk([capture(key) for key in keys]), settle=0)
    ] == keys
    assert len(ledger.records()) == 10_000


# Several processes


def _request(
    place: Path | Postgres, go: Event, taken: "multiprocessing.SimpleQueue[list[str]]"
) -> None:
    go.wait()
    ledger = Ledger(place)  # all of them make the file, too
    walk = Walk([capture(f"{number}") for number in range(200)])
    keys_taken = []
    for _ in range(20):
        ready = ledger.look(walk, settle=0)
        keys_taken += ledger.requested([capture.key for capture in ready[:10]])
        ledger.claim(capture(f"by {os.getpid()}"), run="r1")
    taken.put(keys_taken)


def test_two_lookers_never_ask_for_the_same_capture(place):
    go, taken = SPAWN.Event(), SPAWN.SimpleQueue()
    with (
        process(_request, place, go, taken) as first,
        process(_request, place, go, taken) as second,
    ):
        go.set()
        keys_taken = taken.get() + taken.get()
        first.join(60)
        second.join(60)
        assert (first.exitcode, second.exitcode) == (0, 0)
    assert Counter(keys_taken) == Counter(f"{number}" for number in range(200))


def _write_for_ever(place: Path | Postgres, started: Event) -> None:
    ledger = Ledger(place)
    for number in range(1_000_000):
        ledger.claim(capture(f"{number % 50}"), run="r1")
        ledger.finish(
            f"{number % 50}",
            sha256="ab",
            documents="d" * 2000,
            packets=number,
            rows=number,
            skipped={},
        )
        started.set()


def test_a_killed_writer_leaves_a_ledger_that_works(place):
    for round_ in range(5):
        started = SPAWN.Event()
        with process(_write_for_ever, place, started) as writer:
            assert started.wait(60)
            time.sleep(0.03 * round_)
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        records = Ledger(place).records()
        assert records
        assert all(
            record.state == State.RUNNING or record.packets == record.rows for record in records
        )
        assert sum(record.state == State.RUNNING for record in records) <= round_ + 1


def _hold(place: Path | Postgres, locked: Event) -> None:
    with Ledger(place).lock("lab/a.pcap"):
        locked.set()
        time.sleep(600)


def test_a_killed_worker_frees_its_lock(ledger, place):
    locked = SPAWN.Event()
    with process(_hold, place, locked) as worker:
        assert locked.wait(60)
        with (
            pytest.raises(CaptureBusyError, match=r"lab/a\.pcap is being worked on"),
            ledger.lock("lab/a.pcap", timeout=0),
        ):
            pass
        with ledger.lock("lab/b.pcap", timeout=0):
            pass
        os.kill(worker.pid, signal.SIGKILL)
        with ledger.lock("lab/a.pcap", timeout=10):
            pass


def _count(place: Path | Postgres, counter: str, go: Event) -> None:
    ledger = Ledger(place)
    go.wait()
    for _ in range(300):
        with ledger.lock("lab/a.pcap"):
            number = int(Path(counter).read_text())
            Path(counter).write_text(f"{number + 1}")


def test_a_lock_has_one_holder_and_leaves_no_file(place, tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    go = SPAWN.Event()
    with (
        process(_count, place, str(counter), go) as first,
        process(_count, place, str(counter), go) as second,
    ):
        go.set()
        first.join(60)
        second.join(60)
        assert (first.exitcode, second.exitcode) == (0, 0)
    assert counter.read_text() == "600"
    if isinstance(place, Path):
        assert list(place.with_suffix(".locks").iterdir()) == []


def test_a_lock_keeps_other_threads_out_and_may_change_hands(ledger):
    lock = ledger.lock("a")
    busy: list[bool] = []

    def try_it() -> None:
        try:
            with ledger.lock("a", timeout=0):
                busy.append(False)
        except CaptureBusyError:
            busy.append(True)

    def run(target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    lock.__enter__()
    run(try_it)
    run(lambda: lock.__exit__(None, None, None))
    try_it()
    assert busy == [True, False]


def test_a_lock_is_freed_by_an_error(ledger):
    with pytest.raises(KeyError), ledger.lock("a"):
        raise KeyError
    with ledger.lock("a", timeout=0):
        pass


def test_a_loaded_file_of_a_rotation_is_behind_if_the_one_before_it_leaves_something_else(ledger):
    keys = [f"lab/a_0000{number}_2026010112000{number}.pcapng" for number in (1, 2, 3)]
    waiting(ledger, *keys, "lab/a.pcapng")
    assert [record and record.key for record in map(ledger.previous, [*keys, "lab/a.pcapng"])] == [
        None,
        *keys[:2],
        None,
    ]

    def finish(key: str, follows: str, leaves: str) -> None:
        ledger.finish(
            key,
            sha256="ab",
            documents="d",
            packets=1,
            rows=1,
            skipped={},
            handover=Handover(follows, leaves),
        )

    finish(keys[1], "", "2")
    finish(keys[2], "2", "3")
    assert ledger.behind() == {}, "the first is not loaded"
    finish(keys[0], "", "1")
    assert ledger.behind() == {keys[1]: keys[0]}
    finish(keys[1], "1", "changed")
    assert ledger.behind() == {keys[2]: keys[1]}
    finish(keys[2], "changed", "3")
    assert ledger.behind() == {}
    ledger.purge(keys[1])
    assert ledger.behind() == {}
    assert (ledger.get(keys[1]).follows, ledger.get(keys[1]).leaves) == ("", "")


def test_experiments_are_summed_up_without_what_is_purged_or_refused(ledger):
    keys = [f"lab/{number}.pcap" for number in range(6)]
    assert ledger.experiments() == []
    for key in keys[:5]:
        ledger.claim(capture(key), run="r1")
    for key in keys[:3]:
        ledger.finish(key, sha256=key, documents=None, packets=10**12, rows=9, skipped={})
    ledger.expire_packets(keys[0])
    ledger.purge(keys[1])
    ledger.fail(keys[3], "why")
    ledger.refuse(capture(keys[5]), "why")
    waiting(ledger, *keys, "attic/a.pcap")
    ledger.refuse(capture("void/a.txt"), "why")

    attic, lab, void = ledger.experiments()

    assert attic == Experiment("attic", 1, 0, 0, 0, 0, 0, 0, 0, attic.changed_at)
    assert lab == Experiment(
        name="lab",
        captures=4,
        loaded=2,
        failed=1,
        refused=1,
        running=1,
        packets=2 * 10**12,
        rows=18,
        with_packets=1,
        changed_at=max(record.changed_at for record in ledger.records(experiment="lab")),
    )
    assert void == Experiment("void", 0, 0, 0, 1, 0, 0, 0, 0, void.changed_at)


def test_answers_of_an_experiment_are_summed_up_over_its_loaded_captures(ledger):
    some, more = (
        {"netify": {"answered": 2, "failed": 1}},
        {"netify": {"answered": 4}, "offline": {}},
    )
    by_capture = {"lab/a": some, "lab/b": some, "lab/c": more, "lab/failed": some, "attic/a": more}
    for key, answers_by in by_capture.items():
        ledger.claim(capture(key), run="r1")
        ledger.answered(key, answers="f", owed=3, answers_by=answers_by)
        if key == "lab/failed":
            ledger.fail(key, "why")
        else:
            ledger.finish(key, sha256=key, documents=None, packets=1, rows=1, skipped={})

    assert ledger.answers("lab") == Answers(
        captures=3, owed=9, by_provider={"netify": {"answered": 8, "failed": 2}, "offline": {}}
    )
    assert ledger.answers("cellar") == Answers(captures=0, owed=0, by_provider={})


def test_what_is_behind_can_be_asked_for_some_rotations_alone(ledger):
    keys = [f"lab/{name}.pcap{number}" for name in ("one", "other", "two") for number in (0, 1)]
    for key in keys:
        ledger.claim(capture(key), run="r1")
        ledger.finish(
            key,
            sha256=key,
            documents=None,
            packets=1,
            rows=1,
            skipped={},
            handover=Handover(follows="", leaves="x" if key.endswith("0") else ""),
        )

    one, other, two = ({keys[number + 1]: keys[number]} for number in (0, 2, 4))
    assert ledger.behind() == one | other | two
    assert ledger.behind(keys[1:2]) == one
    assert ledger.behind([keys[3], keys[5], "lab/notes.txt"]) == other | two
    assert ledger.behind(["lab/notes.txt", "lab/three.pcap"]) == {}
