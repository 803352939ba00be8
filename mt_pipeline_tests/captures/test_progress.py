"""How far all captures are together, and how long it takes still."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from mt_pipeline.captures import progress
from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.progress import Progress, duration
from mt_pipeline.state.postgres import Postgres

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Progress(0, 0, 0, None), "0 of 0 captures in"),
        (Progress(3, 0, 0, 2.0), "3 of 3 captures in"),
        (Progress(0, 0, 9, None), "0 of 9 captures in"),
        (
            Progress(1_240, 38, 8_722, 4.1),
            "1,240 of 10,000 captures in, 38 failed, 4.1 a second, 35 min left",
        ),
    ],
)
def test_it_is_a_line_for_people(given: Progress, text: str):
    assert str(given) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3_600, "60 min"),
        (5_400, "1 h 30 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_a_time_has_the_unit_that_people_would_choose(seconds: float, text: str):
    assert duration(seconds) == text


def test_the_rate_is_that_of_the_latest_verdicts(place: Path | Postgres):
    states = [
        ("done", 10_000),
        ("done", 100),
        ("failed", 50),
        ("done", 10),
        ("waiting", 5),
        ("running", 1),
        ("purged", 1),
        ("refused", 1),
    ]
    with Ledger(place)._database.write() as db:
        db.execute(
            sa.insert(TABLE),
            [
                {"key": str(n), "state": state, "changed_at": NOW - ago}
                for n, (state, ago) in enumerate(states)
            ],
        )

        assert progress.count(db, now=NOW) == Progress(done=3, failed=1, left=2, rate=2 / 100)


def test_one_verdict_alone_has_no_rate(place: Path | Postgres):
    with Ledger(place)._database.write() as db:
        db.execute(sa.insert(TABLE), {"key": "a", "state": "done", "changed_at": NOW - 5})

        assert progress.count(db, now=NOW).rate is None
