"""Whoever has lost the lock of a capture writes no verdict on it, whatever others did since."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.locks import CaptureLostError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.postgres import Server

KEY = "lab/a.pcap"
CAPTURE = Capture(KEY, Path("/inbox"), 7, 11)

CHANGES: dict[str, Callable[[Ledger, Record | None], object]] = {
    "claim": lambda ledger, _: ledger.claim(CAPTURE, run="r1"),
    "hashed": lambda ledger, _: ledger.hashed(KEY, "cd"),
    "finish": lambda ledger, _: done(ledger),
    "answered": lambda ledger, _: ledger.answered(KEY, answers="x", owed=9),
    "fail": lambda ledger, _: ledger.fail(KEY, "it failed"),
    "purge": lambda ledger, _: ledger.purge(KEY),
    "expire_packets": lambda ledger, _: ledger.expire_packets(KEY),
    "give_back": lambda ledger, _: ledger.give_back(KEY, outage="no disk", suspect=True),
    "file_deleted": lambda ledger, before: ledger.file_deleted(KEY, before),
}
"""All changes of a record by whoever has its lock."""


def done(ledger: Ledger, sha256: str = "ab") -> None:
    ledger.finish(KEY, sha256=sha256, documents="d", packets=2, rows=2, skipped={})


@pytest.fixture
def lose(place: Path | Postgres, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Give a function that frees all locks, though their holders live on."""
    if isinstance(place, Path):
        folder = place.with_suffix(".locks")
        return lambda: [file.unlink() for file in folder.iterdir()] and None
    server: Server = request.getfixturevalue("postgres_server")
    return server.cut


@pytest.mark.parametrize("change", CHANGES)
def test_it_does_not_overwrite_the_verdict_of_the_next(
    place: Path | Postgres, lose: Callable[[], None], change: str
):
    first, second = Ledger(place), Ledger(place)
    with first.lock(KEY) as before:
        first.claim(CAPTURE, run="r1")
        lose()
        with second.lock(KEY, timeout=10) as record:
            assert record.state is State.RUNNING
            second.claim(CAPTURE, run="r2")
            done(second)
        verdict = second.get(KEY)
        assert (verdict.state, verdict.run) == (State.DONE, "r2")

        with pytest.raises(CaptureLostError, match=rf"{KEY}: its lock .*leaves the capture"):
            CHANGES[change](first, before)
        with pytest.raises(CaptureLostError):
            first.check(KEY)

    assert second.get(KEY) == verdict


def test_the_run_of_the_record_decides_even_if_the_lock_seems_to_be_held(place: Path | Postgres):
    ledger = Ledger(place)
    with ledger.lock(KEY):
        ledger.claim(CAPTURE, run="r1")
        Ledger(place).claim(CAPTURE, run="r2")
        for change in CHANGES.values():
            with pytest.raises(CaptureLostError, match="run r2 has taken it over"):
                change(ledger, None)
        ledger.check(KEY)
    assert (ledger.get(KEY).state, ledger.get(KEY).run) == (State.RUNNING, "r2")


def test_a_holder_that_has_claimed_nothing_yet_loses_it_too(
    place: Path | Postgres, lose: Callable[[], None]
):
    first, second = Ledger(place), Ledger(place)
    with first.lock(KEY):
        lose()
        with second.lock(KEY, timeout=10):
            with pytest.raises(CaptureLostError):
                first.claim(CAPTURE, run="r1")
            assert second.get(KEY) is None


def test_whoever_comes_second_keeps_the_lock_when_the_first_ends(
    place: Path | Postgres, lose: Callable[[], None]
):
    first, second = Ledger(place), Ledger(place)
    with ExitStack() as stack:
        with first.lock(KEY):
            lose()
            stack.enter_context(second.lock(KEY, timeout=10))
        assert Ledger(place).is_at_work(KEY)
        second.check(KEY)
    assert not Ledger(place).is_at_work(KEY)


def test_a_verdict_of_the_holder_counts(place: Path | Postgres):
    ledger = Ledger(place)
    for run in ("r1", "r2"):
        with ledger.lock(KEY):
            ledger.claim(CAPTURE, run=run)
            ledger.check(KEY)
            done(ledger, sha256=run)
    assert (ledger.get(KEY).state, ledger.get(KEY).run) == (State.DONE, "r2")
