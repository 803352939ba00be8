"""A file is taken if it is new or changed, and was quiet between two looks; no other is."""

import os
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.inbox import Refused, Walk, walk
from mt_pipeline.captures.ledger import Ledger, State
from mt_pipeline.state.postgres import Postgres


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox" / "lab").mkdir(parents=True)
    return tmp_path / "inbox"


@pytest.fixture
def ledger(place: Path | Postgres) -> Ledger:
    return Ledger(place)


def look(ledger: Ledger, inbox: Path, now: float, settle: float = 5) -> list[str]:
    return [capture.key for capture in ledger.look(walk(inbox), settle=settle, now=now)]


def load(ledger: Ledger, inbox: Path, key: str) -> None:
    ledger.claim(capture_at(inbox, key), run="r1")
    ledger.finish(key, sha256="00", documents="d", packets=9, rows=9, skipped={})


def settle(ledger: Ledger, inbox: Path) -> None:
    """Bring what lies in the inbox to where a run may be asked for."""
    look(ledger, inbox, 1000)
    assert look(ledger, inbox, 1005)


def state(ledger: Ledger, key: str) -> State | None:
    record = ledger.get(key)
    return record and record.state


def test_a_file_is_ready_at_the_second_look_a_settle_time_later(ledger, inbox):
    (inbox / "lab" / "a.pcap").write_bytes(b"x")
    assert look(ledger, inbox, 1000) == []
    assert state(ledger, "lab/a.pcap") == State.WAITING
    assert look(ledger, inbox, 1003) == []
    assert look(ledger, inbox, 1005) == ["lab/a.pcap"]


def test_a_timer_that_is_a_little_early_does_not_cost_a_look(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    look(ledger, inbox, 1000)
    assert look(ledger, inbox, 1004.6) == ["a.pcap"]


def test_without_a_settle_time_a_file_is_ready_at_first_sight(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    assert look(ledger, inbox, 1000, settle=0) == ["a.pcap"]


def test_a_growing_file_is_not_ready_until_it_is_quiet(ledger, inbox):
    for tick in range(5):
        with (inbox / "a.pcap").open("ab") as file:
            file.write(b"x")
        assert look(ledger, inbox, 1000 + 5 * tick) == []
    assert look(ledger, inbox, 1024) == []
    assert look(ledger, inbox, 1025) == ["a.pcap"]


def test_of_a_rotation_all_but_the_last_file_are_ready_at_once(ledger, inbox):
    """A quiet file of a ring used to be taken while dumpcap still had it open."""
    names = [f"ring_0000{number}_2026010112000{number}.pcapng" for number in (1, 2, 3)]
    for time, name in enumerate(names):
        (inbox / name).write_bytes(b"x")
        os.utime(inbox / name, (time, time))
    assert look(ledger, inbox, 1000) == names[:2]
    assert look(ledger, inbox, 1005) == names
    load(ledger, inbox, names[2])
    (inbox / names[2]).write_bytes(b"it goes on")
    os.utime(inbox / names[2], (9, 9))
    assert look(ledger, inbox, 1010) == names[:2]
    (inbox / "ring_00004_20260101120009.pcapng").write_bytes(b"x")
    assert look(ledger, inbox, 1011) == [names[2], *names[:2]]


def test_a_clock_set_back_does_not_hold_files_for_ever(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    look(ledger, inbox, 1_000_000)
    assert look(ledger, inbox, 1000) == ["a.pcap"]


def test_a_folder_moved_in_with_times_of_1970_is_ready_whole(ledger, inbox, tmp_path):
    (tmp_path / "archive" / "deep").mkdir(parents=True)
    names = ["archive/a.pcap", "archive/deep/b.pcap", "archive/deep/c.pcap"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    look(ledger, inbox, 1000)
    (tmp_path / "archive").rename(inbox / "archive")
    assert look(ledger, inbox, 1005) == []
    assert look(ledger, inbox, 1010) == names


def test_what_is_requested_or_running_is_not_ready_again(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    (inbox / "b.pcap").write_bytes(b"x")
    settle(ledger, inbox)
    assert ledger.requested(["a.pcap"]) == ["a.pcap"]
    assert look(ledger, inbox, 1010) == ["b.pcap"]
    ledger.claim(capture_at(inbox, "a.pcap"), run="r1")
    ledger.claim(capture_at(inbox, "b.pcap"), run="r2")
    assert look(ledger, inbox, 1015) == []


@pytest.mark.parametrize("outcome", ["done", "failed", "refused", "purged"])
def test_what_was_dealt_with_stays_so_until_it_changes(ledger, inbox, outcome):
    (inbox / "a.pcap").write_bytes(b"x")
    settle(ledger, inbox)
    capture = capture_at(inbox, "a.pcap")
    if outcome == "refused":
        ledger.refuse(capture, "a.pcap is not a capture: remove it.")
    else:
        load(ledger, inbox, "a.pcap")
    if outcome == "failed":
        ledger.fail("a.pcap", "tshark died")
    if outcome == "purged":
        ledger.purge("a.pcap")
    assert state(ledger, "a.pcap") == outcome
    assert look(ledger, inbox, 1010) == look(ledger, inbox, 9000) == []
    assert state(ledger, "a.pcap") == outcome

    (inbox / "a.pcap").write_bytes(b"xy")
    assert look(ledger, inbox, 9005) == []
    assert state(ledger, "a.pcap") == State.WAITING
    assert look(ledger, inbox, 9010) == ["a.pcap"]


def test_a_file_replaced_by_one_of_the_same_size_is_ready_again(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    load(ledger, inbox, "a.pcap")
    os.utime(inbox / "a.pcap", ns=(0, 1))
    assert look(ledger, inbox, 1000) == []
    assert look(ledger, inbox, 1005) == ["a.pcap"]


def test_a_file_replaced_by_one_of_the_same_time_is_ready_again(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    load(ledger, inbox, "a.pcap")
    time = (inbox / "a.pcap").stat().st_mtime_ns
    (inbox / "a.pcap").write_bytes(b"xy")
    os.utime(inbox / "a.pcap", ns=(time, time))
    assert look(ledger, inbox, 1000) == []
    assert look(ledger, inbox, 1005) == ["a.pcap"]


def test_a_file_that_changes_while_it_is_worked_on_is_ready_after_the_verdict(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    ledger.claim(capture_at(inbox, "a.pcap"), run="r1")
    (inbox / "a.pcap").write_bytes(b"xy")
    assert look(ledger, inbox, 1000) == []
    ledger.fail("a.pcap", "a.pcap changed while it was read")
    assert look(ledger, inbox, 1005) == []
    assert look(ledger, inbox, 1010) == ["a.pcap"]


def test_a_changed_capture_keeps_what_is_known_of_its_last_load(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    load(ledger, inbox, "a.pcap")
    (inbox / "a.pcap").write_bytes(b"xy")
    look(ledger, inbox, 1000)
    record = ledger.get("a.pcap")
    assert (record.state, record.documents, record.rows) == (State.WAITING, "d", 9)


def test_a_file_that_vanished_before_it_was_taken_leaves_no_record(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    (inbox / "b.txt").write_bytes(b"x")
    settle(ledger, inbox)
    ledger.refuse(capture_at(inbox, "b.txt"), "b.txt is not a capture: remove it.")
    (inbox / "a.pcap").unlink()
    (inbox / "b.txt").unlink()
    assert look(ledger, inbox, 1010) == []
    assert ledger.records() == []


def test_a_loaded_capture_whose_file_is_gone_stays_done_and_is_not_loaded_again_when_it_is_back(
    ledger, inbox, tmp_path
):
    (inbox / "a.pcap").write_bytes(b"x")
    load(ledger, inbox, "a.pcap")
    (inbox / "a.pcap").rename(tmp_path / "away")
    assert look(ledger, inbox, 1000) == []
    assert state(ledger, "a.pcap") == State.DONE
    (tmp_path / "away").rename(inbox / "a.pcap")
    assert look(ledger, inbox, 1005) == look(ledger, inbox, 1010) == []


def test_a_changed_capture_that_vanishes_is_done_as_it_was_and_ready_if_it_comes_back(
    ledger, inbox, tmp_path
):
    (inbox / "a.pcap").write_bytes(b"x")
    load(ledger, inbox, "a.pcap")
    (inbox / "a.pcap").write_bytes(b"xy")
    look(ledger, inbox, 1000)
    (inbox / "a.pcap").rename(tmp_path / "away")
    look(ledger, inbox, 1005)
    assert state(ledger, "a.pcap") == State.DONE
    (tmp_path / "away").rename(inbox / "a.pcap")
    assert look(ledger, inbox, 1010) == []
    assert look(ledger, inbox, 1015) == ["a.pcap"]


def test_a_failed_capture_is_tried_again_if_its_file_was_away(ledger, inbox, tmp_path):
    (inbox / "a.pcap").write_bytes(b"x")
    ledger.claim(capture_at(inbox, "a.pcap"), run="r1")
    (inbox / "a.pcap").rename(tmp_path / "away")
    ledger.fail("a.pcap", "a.pcap is not in the inbox any more")
    look(ledger, inbox, 1000)
    assert ledger.get("a.pcap").error == "a.pcap is not in the inbox any more"
    (tmp_path / "away").rename(inbox / "a.pcap")
    look(ledger, inbox, 1005)
    assert look(ledger, inbox, 1010) == ["a.pcap"]


def test_an_inbox_that_cannot_be_read_forgets_nothing(ledger, inbox, tmp_path):
    (inbox / "a.pcap").write_bytes(b"x")
    settle(ledger, inbox)
    inbox.rename(tmp_path / "away")
    assert look(ledger, inbox, 1010) == []
    assert state(ledger, "a.pcap") == State.WAITING


def test_a_claim_made_before_the_file_appears_keeps_others_off(ledger, inbox, tmp_path):
    (tmp_path / "far.pcap").write_bytes(b"x")
    ledger.claim(capture_at(tmp_path, "far.pcap"), run="r1")
    assert look(ledger, inbox, 1000, settle=0) == []
    assert state(ledger, "far.pcap") == State.RUNNING
    (inbox / "far.pcap").symlink_to(tmp_path / "far.pcap")
    assert look(ledger, inbox, 1005, settle=0) == []
    ledger.finish("far.pcap", sha256="00", documents=None, packets=1, rows=1, skipped={})
    assert look(ledger, inbox, 1010, settle=0) == []


def test_names_that_cannot_be_keys_are_refused_until_renamed(ledger, inbox):
    bad = inbox / "lab" / os.fsdecode(b"caf\xe9\n.pcap")
    bad.write_bytes(b"x")
    look(ledger, inbox, 1000)
    assert look(ledger, inbox, 1005) == []
    (status,) = ledger.records()
    assert (status.key, status.experiment, status.state) == (
        r"./lab/caf\xe9\u000a.pcap",
        "lab",
        State.REFUSED,
    )
    assert status.error.endswith("Rename it.")
    bad.rename(inbox / "lab" / "cafe.pcap")
    look(ledger, inbox, 1010)
    assert look(ledger, inbox, 1015) == ["lab/cafe.pcap"]
    assert [record.key for record in ledger.records()] == ["lab/cafe.pcap"]


@pytest.mark.parametrize(
    "name",
    ["-n.pcap", "a b.pcap", 'it\'s "x".pcap', "50%25 %s :of.pcap", "ü 实验.pcap", "?a=b&c;--.pcap"],
)
def test_odd_names_go_through(ledger, inbox, name):
    (inbox / "lab" / name).write_bytes(b"x")
    look(ledger, inbox, 1000)
    assert look(ledger, inbox, 1005) == [f"lab/{name}"]
    assert ledger.requested([f"lab/{name}"]) == [f"lab/{name}"]
    load(ledger, inbox, f"lab/{name}")
    assert [(status.key, status.state) for status in ledger.records()] == [
        (f"lab/{name}", State.DONE)
    ]


def test_a_file_made_readable_is_taken_without_a_change(ledger, inbox):
    (inbox / "a.pcap").write_bytes(b"x")
    shut = Refused(
        "a.pcap", str(inbox / "a.pcap"), "a.pcap cannot be read: make it readable for this user."
    )
    assert ledger.look(Walk(refused=[shut]), settle=5, now=1000) == []
    assert ledger.records()[0].error == shut.reason
    assert look(ledger, inbox, 1005) == []
    assert look(ledger, inbox, 1010) == ["a.pcap"]


ODD_TIMES = (
    0,
    1,
    -1,
    -(2**31),
    2**31,
    9_223_372_036,
    9_223_372_037,
    10_413_792_000,
    15_032_385_535,
)
"""Seconds since 1970, from 1901 to 2446 as ext4; nanoseconds from 2262 on need over 64 bits."""


def test_a_file_of_any_time_is_taken_once_and_again_when_it_changes(ledger, inbox):
    """From 2262-04-11 on a time was more than SQLite holds, and no file was taken any more."""
    files = [inbox / f"{number}.pcap" for number in range(len(ODD_TIMES))]
    for file, seconds in zip(files, ODD_TIMES, strict=True):
        file.write_bytes(b"")
        os.utime(file, ns=(0, seconds * 10**9 + 1))
    keys = [file.name for file in files]
    look(ledger, inbox, 1000)
    assert look(ledger, inbox, 1005) == keys
    for key in keys:
        load(ledger, inbox, key)
    assert {key: ledger.get(key).mtime_ns for key in keys} == {
        key: capture_at(inbox, key).mtime_ns for key in keys
    }
    assert look(ledger, inbox, 1100) == look(ledger, inbox, 1200) == []
    for file in files:
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))
    look(ledger, inbox, 1300)
    assert look(ledger, inbox, 1305) == [
        key for key in keys if key != keys[-1]
    ]  # ext4 has no later time than its last


@pytest.mark.parametrize(
    "mtime_ns", [-(2**63) - 1, -(2**63), 2**63 - 1, 2**63, 2**64, 10**40, -(10**40)]
)
def test_the_ledger_keeps_a_time_of_any_size(ledger, inbox, mtime_ns):
    ledger.take(Capture("a.pcap", inbox, 1, mtime_ns))
    assert ledger.get("a.pcap").mtime_ns == mtime_ns


def test_a_folder_that_cannot_be_read_costs_no_other_one(ledger, inbox):
    for key in ("shut/a.pcap", "shut.pcap", "lab/b.pcap"):
        (inbox / key).parent.mkdir(exist_ok=True)
        (inbox / key).write_bytes(b"x")
    look(ledger, inbox, 1000)
    ledger.look(Walk(unread={"shut": "The folder shut cannot be read."}), settle=5, now=1005)
    assert [record.key for record in ledger.records()] == ["shut/a.pcap"]
    ledger.look(Walk(unread={"": "The inbox cannot be read."}), settle=5, now=1010)
    assert [record.key for record in ledger.records()] == ["shut/a.pcap"]
