"""The file of the ledger: made, upgraded, and a readable sentence when it cannot be used."""

import multiprocessing
import resource
import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.ledger import Ledger, State
from mt_pipeline.captures.records import LedgerError, Record

CAPTURE = Capture("lab/a.pcap", Path("/inbox"), 7, 11)


def test_there_is_a_column_for_each_field_of_a_record():
    assert [column.name for column in TABLE.columns] == [field.name for field in fields(Record)]


def test_an_older_file_gets_the_columns_it_lacks(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).claim(CAPTURE, run="r1")
    with sqlite3.connect(path) as db:
        for index in TABLE.indexes:
            db.execute(f"DROP INDEX {index.name}")
        for column in TABLE.columns:
            if column.name not in ("key", "size", "mtime_ns", "state"):
                db.execute(f'ALTER TABLE captures DROP COLUMN "{column.name}"')
    db.close()
    ledger = Ledger(path)
    record = ledger.get("lab/a.pcap")
    assert (
        record.state,
        record.size,
        record.skipped,
        record.attempts,
        record.cut,
        record.packets,
    ) == (State.RUNNING, 7, {}, 0, False, None)
    ledger.finish(
        "lab/a.pcap", sha256="ab", documents="d", packets=2, rows=1, skipped={"x": 1}, cut=True
    )
    assert Ledger(path).get("lab/a.pcap").skipped == {"x": 1}


def test_a_newer_file_with_more_columns_can_be_used(tmp_path):
    Ledger(tmp_path / "ledger.sqlite").claim(CAPTURE, run="r1")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("ALTER TABLE captures ADD COLUMN mood TEXT")
    db.close()
    assert Ledger(tmp_path / "ledger.sqlite").get("lab/a.pcap").state == State.RUNNING


def test_a_damaged_file_is_named_with_a_cure(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"Dear all, " * 1000)
    with pytest.raises(
        LedgerError,
        match=r"The ledger .*ledger\.sqlite cannot be used "
        r"\(file is not a database\): it is damaged",
    ):
        Ledger(path)


def test_damage_that_shows_later_is_named_too(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger(path).look(
        Walk([Capture(f"{number}", Path("/inbox"), 1, 1) for number in range(1000)]), settle=0
    )
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    ledger = Ledger(path)
    with pytest.raises(LedgerError, match="it is damaged: stop the service and move it away"):
        ledger.records()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(
        LedgerError,
        match=r"The ledger .*data/ledger\.sqlite cannot be used: "
        r".*data: something of this name is there already: move it away",
    ):
        Ledger(tmp_path / "data" / "ledger.sqlite")


def _fill(path: str, messages: "multiprocessing.SimpleQueue[str]") -> None:
    ledger = Ledger(Path(path))
    ledger.claim(CAPTURE, run="r1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        ledger.look(
            Walk([Capture(f"{number}", Path("/inbox"), 1, 1) for number in range(10_000)]), settle=0
        )
    except LedgerError as error:
        messages.put(str(error))


def test_a_file_that_cannot_grow_is_named_and_keeps_what_it_had(tmp_path):
    context = multiprocessing.get_context("spawn")
    messages = context.SimpleQueue()
    child = context.Process(target=_fill, args=(str(tmp_path / "ledger.sqlite"), messages))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert not messages.empty()
    assert "look at the disk: it may be full" in messages.get()
    assert [record.key for record in Ledger(tmp_path / "ledger.sqlite").records()] == ["lab/a.pcap"]
