"""The sensor looks when the inbox has changed, or when a file may have settled, and not else."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_pipeline.captures.inbox import Walk, walk
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.watch import looks

LONG = 3600.0


class Watched:
    """An inbox, its ledger, and what tells the watch to end."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.ledger = folder / "inbox", Ledger(folder / "ledger.sqlite")
        self.ending = threading.Event()
        self.inbox.mkdir()

    def looks(self, *, seconds: float = LONG, settle: float = LONG) -> Iterator[Walk]:
        return looks(self.inbox, self.ledger, settle=settle, seconds=seconds, ending=self.ending)

    def look(self, *, settle: float = LONG) -> list[str]:
        found = self.ledger.look(walk(self.inbox), settle=settle)
        return [capture.key for capture in found]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_an_inbox_that_stays_as_it_is_is_looked_at_once(watched: Watched):
    (watched.inbox / "a.pcap").write_bytes(b"x")

    assert len(list(watched.looks(seconds=1.5))) == 1


def test_a_file_that_comes_grows_or_goes_is_worth_a_look(watched: Watched):
    looks, path = watched.looks(), watched.inbox / "a.pcap"

    def sizes() -> list[int]:
        return [capture.size for capture in next(looks).captures]

    assert sizes() == []
    path.write_bytes(b"x")
    assert sizes() == [1]
    path.write_bytes(b"xx")
    assert sizes() == [2]
    path.unlink()
    assert sizes() == []


def test_a_file_is_worth_a_look_once_it_has_settled(watched: Watched):
    (watched.inbox / "a.pcap").write_bytes(b"x")
    looks = watched.looks(settle=0.7)
    next(looks)
    assert watched.look(settle=0.7) == []

    next(looks)

    assert watched.look(settle=0.7) == ["a.pcap"]


def test_a_file_that_was_requested_has_nothing_to_settle(watched: Watched):
    (watched.inbox / "a.pcap").write_bytes(b"x")
    watched.look()
    assert watched.ledger.next_settled(LONG, now=time.time()) is not None

    watched.ledger.requested(["a.pcap"])

    assert watched.ledger.next_settled(LONG, now=time.time()) is None


def test_it_ends_when_its_process_does(watched: Watched):
    looks = watched.looks()
    next(looks)
    threading.Timer(0.2, watched.ending.set).start()

    assert list(looks) == []


def test_a_file_that_settled_during_a_slow_look_is_worth_another(watched: Watched):
    """A look that took longer than files settle forgot those that it had seen first."""
    (watched.inbox / "a.pcap").write_bytes(b"x")
    looks = watched.looks(seconds=60, settle=0.2)
    next(looks)
    assert watched.look(settle=0.2) == []
    time.sleep(0.3)  # the rest of the look

    started = time.monotonic()
    next(looks)
    assert watched.look(settle=0.2) == ["a.pcap"]
    assert time.monotonic() - started < 30
