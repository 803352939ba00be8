"""Records and their JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mt_pipeline.enrichment.answers import Answer, Endpoint, Facts
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX

NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(GOOGLE, "netify", True, NOON, Facts("a", "b", None, "Europe", "Curaçao", 'Say "x"', -13.25, 0.0)),
        Answer(NETFLIX, "netify", True, NOON, Facts(domain_tag="games")),
        Answer(NETFLIX, "netify", False, NOON),
    ],
)
def test_an_answer_survives_json(answer):
    assert Answer.from_json(answer.to_json()) == answer


def test_json_leaves_out_what_is_not_known():
    assert json.loads(Answer(GOOGLE, "netify", True, NOON, Facts(app_tag="dns")).to_json())["facts"] == {"app_tag": "dns"}


def test_times_become_utc():
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    assert json.loads(Answer(GOOGLE, "netify", True, east).to_json())["asked_at"] == "2026-03-01T12:00:00.000005+00:00"


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        Answer(GOOGLE, "netify", True, NOON.replace(tzinfo=None))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'host' is no kind"):
        Endpoint("host", "a.example")


def test_facts_of_a_later_release_are_passed_over():
    record = json.loads(Answer(GOOGLE, "netify", True, NOON, Facts(app_tag="dns")).to_json())
    record["facts"]["asn"] = 15169
    assert Answer.from_json(json.dumps(record)).facts == Facts(app_tag="dns")


@pytest.mark.parametrize(
    "damage",
    ["", "no json", "[]", "null", "{}", '{"kind": "address"}', "wrong fact", "facts null", "no time"],
)
def test_what_is_no_answer_is_a_value_error(damage):
    record = json.loads(Answer(GOOGLE, "netify", True, NOON).to_json())
    changes = {"wrong fact": {"facts": {"geo_lon": "5"}}, "facts null": {"facts": None}, "no time": {"asked_at": "yesterday"}}
    text = json.dumps({**record, **changes[damage]}) if damage in changes else damage
    with pytest.raises(ValueError):
        Answer.from_json(text)
