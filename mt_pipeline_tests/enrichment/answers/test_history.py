"""Histories: in time, as JSON, and put together."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from mt_pipeline.enrichment.answers import history
from mt_pipeline.enrichment.answers.history import Entry, History
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX

NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


def answer_of(app: str | None, days: float = 0, *, endpoint: Endpoint = GOOGLE) -> Answer:
    """Make an answer of so many days after noon; None is "not found"."""
    return Answer(
        endpoint, "netify", app is not None, NOON + timedelta(days=days), Facts(app_tag=app)
    )


def after(*answers: Answer) -> History:
    """Return the history of answers given one after the other."""
    first, *others = answers
    known = History.of(first)
    for other in others:
        known = known.with_answer(other)
    return known


def times_of(known: History) -> list[tuple[str | None, float, float]]:
    """Return the answer of each entry, with its first and last day after noon."""
    day = timedelta(days=1)
    return [
        (entry.facts.app_tag, (entry.asked_at - NOON) / day, (entry.confirmed_at - NOON) / day)
        for entry in known.entries
    ]


def test_what_is_said_again_is_confirmed_and_what_is_new_is_an_entry():
    known = after(
        answer_of("a"),
        answer_of("a", 1),
        answer_of("b", 2),
        answer_of("b", 3),
        answer_of("a", 4),
        answer_of(None, 5),
    )
    assert times_of(known) == [(None, 5, 5), ("a", 4, 4), ("b", 2, 3), ("a", 0, 1)]
    assert known.newest == answer_of(None, 5)


def test_the_newest_answer_is_of_the_time_when_it_was_last_confirmed():
    assert after(answer_of("a"), answer_of("a", 7)).newest == answer_of("a", 7)


@pytest.mark.parametrize(
    ("days", "app", "of"),
    [(0, "a", 0), (1.5, "a", 0), (2, "b", 2), (3.5, "b", 2), (4, "a", 4), (400, "a", 4)],
    ids=lambda value: str(value),
)
def test_what_was_known_at_a_moment_stays_the_same_whatever_is_confirmed_later(
    days: float, app: str, of: float
):
    known = after(
        answer_of("a"),
        answer_of("a", 1),
        answer_of("b", 2),
        answer_of("b", 3),
        answer_of("a", 4),
        answer_of("a", 5),
    )
    assert known.as_of(NOON + timedelta(days=days)) == answer_of(app, of)


def test_before_the_first_answer_nothing_was_known():
    assert after(answer_of("a"), answer_of("a", 1)).as_of(NOON - timedelta(microseconds=1)) is None


def test_what_was_just_paid_is_the_newest_even_after_the_clock_jumped_back():
    known = after(answer_of("a", 400), answer_of("b", 1))
    assert known.newest == answer_of("b", 1)
    assert after(answer_of("a", 400), answer_of("a", 1)).newest == answer_of("a", 1)
    assert known.as_of(NOON + timedelta(days=2)) == answer_of("b", 1)


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_histories_are_merged_in_the_order_of_time_whatever_came_first(order: tuple[int, ...]):
    parts = [
        after(answer_of("a"), answer_of("a", 4)),
        History.of(answer_of("b", 2)),
        History.of(answer_of("a", 1)),
        History.of(answer_of(None, 6)),
    ]
    first, *others = [parts[place] for place in order]
    merged = first
    for other in others:
        merged = merged.merged(other)
    # The confirmation of "a" at 1 may be forgotten: it lies between 0 and 4, until another answer
    # of 2 turns up.
    assert [entry[:2] for entry in times_of(merged)] == [(None, 6), ("a", 4), ("b", 2), ("a", 0)]
    assert merged.newest == answer_of(None, 6)


def test_merging_again_changes_nothing():
    known = after(answer_of("a"), answer_of("b", 2), answer_of("b", 3), answer_of("a", 4))
    assert known.merged(known) == known
    assert known.merged(History.of(answer_of("b", 3))) == known


def test_what_is_old_goes_and_the_newest_stays():
    known = after(answer_of("a"), answer_of("b", 2), answer_of("b", 30), answer_of("a", 40))
    assert times_of(known.since(NOON + timedelta(days=29))) == [("a", 40, 40), ("b", 2, 30)]
    assert times_of(known.since(NOON + timedelta(days=4000))) == [("a", 40, 40)]


@pytest.mark.parametrize(
    "known",
    [
        History(
            "netify",
            GOOGLE,
            (
                Entry(
                    True,
                    NOON,
                    NOON,
                    Facts("a", "b", None, "Europe", "Curaçao", 'Say "x"', -13.25, 0.0),
                ),
            ),
        ),
        after(answer_of("a"), answer_of(None, 1), answer_of("b", 2)),
        History.of(Answer(NETFLIX, "lab", True, NOON, Facts(domain_tag="games"))),
    ],
    ids=["all facts", "several entries", "name"],
)
def test_a_history_survives_json(known: History):
    assert History.from_json(known.to_json()) == known
    lines = [History.from_json(line) for line in known.to_lines()]
    assert [line.entries for line in lines] == [(entry,) for entry in reversed(known.entries)]
    assert {line.key for line in lines} == {known.key}


def test_the_single_answer_of_the_first_release_is_read():
    text = (
        '{"kind": "address", "endpoint": "8.8.8.8", "provider": "netify", "found": true, '
        '"asked_at": "2026-03-01T12:00:00.000005+00:00", '
        '"facts": {"app_tag": "dns", "geo_lon": 1.5}}'
    )
    assert History.from_json(text).newest == Answer(
        GOOGLE, "netify", True, NOON, Facts(app_tag="dns", geo_lon=1.5)
    )


def test_json_leaves_out_what_is_not_known():
    assert json.loads(after(answer_of("dns")).to_json())["entries"][0]["facts"] == {
        "app_tag": "dns"
    }


def test_facts_of_a_later_release_are_passed_over():
    record = json.loads(after(answer_of("dns")).to_json())
    record["entries"][0]["facts"]["asn"] = 15169
    assert History.from_json(json.dumps(record)).newest.facts == Facts(app_tag="dns")


@pytest.mark.parametrize(
    "damage",
    [
        *("", "no json", "[]", "null", "17", "{}", '{"kind": "address"}', "[" * 100_000),
        *(
            "wrong fact",
            "facts null",
            "no time",
            "no zone",
            "end of time",
            "no entries",
            "entries null",
            "wrong kind",
        ),
    ],
    ids=lambda damage: damage[:20] or "empty",
)
def test_what_is_no_history_is_a_value_error_and_read_as_nothing(damage: str):
    record = json.loads(after(answer_of("dns")).to_json())
    [entry] = record["entries"]
    changes = {
        "wrong fact": {"entries": [{**entry, "facts": {"geo_lon": "5"}}]},
        "facts null": {"entries": [{**entry, "facts": None}]},
        "no time": {"entries": [{**entry, "asked_at": "yesterday"}]},
        "no zone": {"entries": [{**entry, "asked_at": "2026-03-01T12:00:00"}]},
        "end of time": {"entries": [{**entry, "asked_at": "9999-12-31T23:59:59-05:00"}]},
        "no entries": {"entries": []},
        "entries null": {"entries": None},
        "wrong kind": {"kind": "host"},
    }
    text = json.dumps({**record, **changes[damage]}) if damage in changes else damage
    with pytest.raises(ValueError):
        History.from_json(text)
    assert history.read(text) is None


def test_records_that_say_nothing_new_are_not_written_again():
    known = after(answer_of("a"), answer_of("b", 2))
    kept = {known.key: known.to_json()}
    assert history.merged_records(kept, [known, History.of(answer_of("b", 2))]) == {}
    assert set(history.merged_records({known.key: "scribble"}, [known])) == {known.key}
