"""Captures with the same bytes: the first, its copies, and what becomes of a skipped copy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline.captures.duplicates import Copy, copies
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State
from mt_pipeline.state.postgres import Postgres

Load = Callable[..., Copy | None]


@pytest.fixture
def ledger(place: Path | Postgres) -> Ledger:
    return Ledger(place)


def capture(key: str) -> Capture:
    return Capture(key, Path("/inbox"), 7, 11)


@pytest.fixture
def load(ledger: Ledger) -> Load:
    """Give a function that takes a capture through the ledger, and says what it is a copy of."""

    def go(
        key: str, content: str, *, filter: str = "", skip: bool = False, finish: bool = True
    ) -> Copy | None:
        ledger.claim(capture(key), run="a run", filter=filter)
        copy = ledger.hashed(key, content, skipped_by="the user" if skip else "")
        if finish and ledger.get(key).state is State.RUNNING:
            ledger.finish(key, sha256=content, documents="d", packets=1, rows=1, skipped={})
        return copy

    return go


def test_the_second_of_two_with_the_same_bytes_is_the_copy(ledger: Ledger, load: Load):
    assert load("x/a", "same") is None
    assert load("x/b", "same") == Copy("x/a", within=True)
    assert load("x/c", "other") is None
    assert copies(ledger.records()) == {"x/b": "x/a"}


def test_loading_again_changes_nothing_of_who_was_first(ledger: Ledger, load: Load):
    load("x/a", "same")
    load("x/b", "same")

    assert load("x/a", "same") is None
    assert load("x/b", "same") == Copy("x/a", within=True)
    assert copies(ledger.records()) == {"x/b": "x/a"}


def test_one_of_its_own_experiment_counts_before_one_of_another(ledger: Ledger, load: Load):
    load("x/a", "same")

    assert load("y/a", "same") == Copy("x/a", within=False)
    assert load("y/b", "same") == Copy("y/a", within=True)
    assert copies(ledger.records()) == {"y/a": "x/a", "y/b": "y/a"}


def test_the_same_bytes_under_another_filter_are_no_copy(load: Load):
    load("x/a", "same")

    assert load("x/b", "same", filter="tls") is None


def test_of_two_at_once_one_is_the_copy(load: Load):
    assert load("x/a", "same", finish=False) is None
    assert load("x/b", "same", finish=False) == Copy("x/a", within=True)


def test_what_failed_or_was_purged_has_no_copies(ledger: Ledger, load: Load):
    load("x/a", "same", finish=False)
    ledger.fail("x/a", "reason")
    assert load("x/b", "same") is None
    assert load("x/a", "same") == Copy("x/b", within=True), "it is loaded later than the other"

    ledger.purge("x/b")
    assert load("x/c", "same") == Copy("x/a", within=True)


def test_a_copy_that_is_left_out_says_of_what_and_by_whom(ledger: Ledger, load: Load):
    load("x/a", "same")

    load("x/b", "same", skip=True)

    record = ledger.get("x/b")
    assert (record.state, record.error) == (
        State.REFUSED,
        "x/b has the same bytes as x/a, so it is not loaded a second time: the user.",
    )
    assert ledger.look(Walk([capture("x/a"), capture("x/b")]), settle=0) == []


def test_a_copy_in_another_experiment_is_never_left_out(ledger: Ledger, load: Load):
    load("x/a", "same")

    assert load("y/a", "same", skip=True) == Copy("x/a", within=False)
    assert ledger.get("y/a").state is State.DONE


@pytest.mark.parametrize("end", ["purged", "failed", "replaced"])
def test_a_copy_that_was_left_out_is_taken_once_the_first_is_loaded_no_more(
    ledger: Ledger, load: Load, end: str
):
    load("x/a", "same")
    load("x/b", "same", skip=True)

    if end == "purged":
        ledger.purge("x/a")
    elif end == "failed":
        ledger.fail("x/a", "reason")
    else:
        load("x/a", "other")

    assert ledger.look(Walk([capture("x/a"), capture("x/b")]), settle=0) == [capture("x/b")]


def test_loading_the_first_again_leaves_its_copies_out(ledger: Ledger, load: Load):
    load("x/a", "same")
    load("x/b", "same", skip=True)

    load("x/a", "same")

    assert ledger.get("x/b").state is State.REFUSED
