"""Records: what they refuse."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mt_pipeline.enrichment.models import Answer, Endpoint
from mt_pipeline_tests.enrichment.parts import GOOGLE

NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


def test_times_become_utc():
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    assert (
        Answer(GOOGLE, "netify", True, east).asked_at.isoformat()
        == "2026-03-01T12:00:00.000005+00:00"
    )


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        Answer(GOOGLE, "netify", True, NOON.replace(tzinfo=None))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'host' is not a kind"):
        Endpoint("host", "a.example")
