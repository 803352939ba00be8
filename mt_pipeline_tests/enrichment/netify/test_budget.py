"""The budget: what is counted, for whom, for how long, and that nothing makes more calls of it."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.provider import BudgetSpent, ProviderStopped
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.postgres import as_argument

SPENDER = """
import sys
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.provider import BudgetSpent
from mt_pipeline_tests.postgres import place_of
budget = Budget(
    place_of(sys.argv[1]),
    provider="netify",
    run=sys.argv[2],
    per_day=int(sys.argv[3]),
    per_run=None,
)
try:
    while True:
        budget.spend()
        print("call", flush=True)
except BudgetSpent:
    print("spent")
"""


def budget(
    folder: Path | Postgres,
    *,
    run: str = "one",
    per_day: int | None = None,
    per_run: int | None = None,
    provider: str = "netify",
) -> Budget:
    return Budget(folder, provider=provider, run=run, per_day=per_day, per_run=per_run)


def spend(of: Budget, calls: int) -> None:
    for _ in range(calls):
        of.spend()


def spent(of: Budget) -> str:
    """Spend one call too many, and return the message."""
    with pytest.raises(BudgetSpent) as refusal:
        of.spend()
    return str(refusal.value)


def days_pass(folder: Path | Postgres, days: int) -> None:
    """Let days pass, a negative number for a clock that is set back, by moving the counted days."""
    for table in ("days", "runs"):
        if isinstance(folder, Postgres):
            with folder.connect(autocommit=True) as db:
                moved = db.execute(f"UPDATE {table} SET day = (day::date - {days})::text").rowcount
        else:
            with closing(sqlite3.connect(folder / "budget.sqlite")) as file, file:
                moved = file.execute(f"UPDATE {table} SET day = date(day, '{-days} days')").rowcount
        assert moved >= 1


def select(folder: Path | Postgres, query: str) -> list[tuple]:
    if isinstance(folder, Postgres):
        with folder.connect(autocommit=True) as db:
            return db.execute(query).fetchall()
    with closing(sqlite3.connect(folder / "budget.sqlite")) as file:
        return file.execute(query).fetchall()


def today() -> date:
    return datetime.now(UTC).date()


def test_so_many_calls_a_day_and_no_more_over_all_runs(cache):
    spend(budget(cache, run="one", per_day=5), 3)
    two = budget(cache, run="two", per_day=5)
    assert (two.spent_today(), two.left()) == (3, 2)
    spend(two, 2)
    assert (two.spent_today(), two.left()) == (5, 0)
    tomorrow = today() + timedelta(days=1)
    assert (
        spent(two) == "MT_NETIFY_BUDGET_DAY allows 5 calls a day, and 5 were made; "
        f"asking goes on at {tomorrow} 00:00 UTC"
    )
    assert spent(budget(cache, run="three", per_day=5)).startswith("MT_NETIFY_BUDGET_DAY")
    assert two.spent_today() == 5, "what was refused is not counted"


def test_so_many_calls_a_run_and_no_more_whoever_counts_for_it(cache):
    spend(budget(cache, run="one", per_run=3), 2)
    again = budget(cache, run="one", per_run=3)
    assert again.left() == 1
    again.spend()
    assert (
        spent(again) == "MT_NETIFY_BUDGET_RUN allows 3 calls a run, and 3 were made; "
        "asking goes on with the next run"
    )
    spend(budget(cache, run="two", per_run=3), 3)
    assert again.spent_today() == 6


def test_the_tighter_limit_counts(cache):
    both = budget(cache, per_day=10, per_run=2)
    assert both.left() == 2
    spend(both, 2)
    assert "MT_NETIFY_BUDGET_RUN" in spent(both)
    spend(budget(cache, run="two", per_day=10), 7)
    assert budget(cache, run="three", per_day=10, per_run=2).left() == 1


def test_without_a_limit_calls_are_counted_all_the_same(cache):
    free = budget(cache)
    assert (free.spent_today(), free.left()) == (0, None)
    spend(free, 20)
    assert (free.spent_today(), free.left()) == (20, None)
    assert budget(cache, per_day=20).left() == 0


def test_who_only_looks_makes_no_file(tmp_path):
    assert (
        budget(tmp_path / "cache", per_day=7).left(),
        budget(tmp_path / "cache").spent_today(),
    ) == (7, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "setting"), [({"per_day": 0}, "DAY"), ({"per_run": 0, "per_day": 5}, "RUN")]
)
def test_a_limit_of_nothing_asks_never_and_says_how_to_change_that(tmp_path, limits, setting):
    none = budget(tmp_path, **limits)
    assert (
        spent(none) == f"MT_NETIFY_BUDGET_{setting} is 0, so netify is never asked; raise it to ask"
    )
    assert none.left() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_limit_that_was_lowered_below_what_was_spent_leaves_nothing(cache):
    spend(budget(cache), 5)
    lower = budget(cache, per_day=3)
    assert lower.left() == 0
    assert "allows 3 calls a day, and 5 were made" in spent(lower)


def test_providers_have_budgets_of_their_own(cache):
    spend(budget(cache, per_day=2), 2)
    other = budget(cache, provider="other", per_day=2)
    spend(other, 2)
    assert "MT_OTHER_BUDGET_DAY" in spent(other)


def test_a_new_day_is_a_new_budget_but_no_new_run(cache):
    of = budget(cache, per_day=2, per_run=3)
    spend(of, 2)
    days_pass(cache, 1)
    assert (of.spent_today(), of.left()) == (0, 1)
    of.spend()
    assert "MT_NETIFY_BUDGET_RUN" in spent(of)
    assert of.spent_today() == 1


def test_a_clock_that_is_set_back_hands_no_day_out_twice(cache):
    of = budget(cache, per_day=4)
    spend(of, 2)
    days_pass(cache, -1)  # set back by a day: the day that was counted is now tomorrow
    assert (of.spent_today(), of.left()) == (2, 2)
    spend(of, 2)
    day = today() + timedelta(days=1)
    message = spent(of)
    assert (
        f"asking goes on at {day + timedelta(days=1)} 00:00 UTC; "
        f"the clock was at {day} before: if that was wrong, remove " in message
    )
    days_pass(cache, 1)  # and right again
    assert "4 were made" in spent(of)
    assert "the clock" not in spent(of)
    days_pass(cache, 1)
    assert of.left() == 4


def test_days_and_runs_of_long_ago_are_forgotten(cache):
    for run, days in (("a", 3), ("b", 6), ("c", 21), ("d", 10), ("e", 0)):
        budget(cache, run=run).spend()
        if days:
            days_pass(cache, days)
    ages = [
        (today() - date.fromisoformat(day)).days
        for (day,) in select(cache, "SELECT day FROM days ORDER BY day")
    ]
    runs = [run for (run,) in select(cache, "SELECT run FROM runs")]
    assert ages == [31, 10, 0], "40 and 37 days are too long ago"
    assert runs == ["e"]


def test_all_processes_spend_one_budget(cache):
    command = [sys.executable, "-c", SPENDER, as_argument(cache)]
    running = [
        subprocess.Popen([*command, f"run {number}", "60"], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0].split() for process in running]
    assert [words.pop() for words in outputs] == ["spent"] * 3
    assert sum(map(len, outputs)) == 60 == budget(cache).spent_today()


def test_a_kill_spends_at_most_what_was_counted(cache):
    """A call is counted before it is made, so the last one of a killed process may be missing."""
    made = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SPENDER, as_argument(cache), "run", "100000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "call\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        made += 1 + process.communicate()[0].count("call\n")
    assert made <= budget(cache).spent_today() <= made + 4
    budget(cache).spend()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            b"garbage" * 1000,
            "is damaged .*not a database.*; remove the file and run again: the count begins at 0",
        ),
        (None, "cannot be counted .*unable to open.*; free disk space or correct the permissions"),
    ],
    ids=["garbage", "a folder"],
)
def test_a_file_that_cannot_be_used_stops_the_asking_and_is_named(tmp_path, damage, reason):
    file = tmp_path / "budget.sqlite"
    if damage:
        file.write_bytes(damage)
    else:
        file.mkdir()
    for act in (
        budget(tmp_path, per_day=5).spend,
        budget(tmp_path).spent_today,
        budget(tmp_path).left,
    ):
        with pytest.raises(ProviderStopped, match=rf"^{re.escape(str(file))}: .*{reason}") as stop:
            act()
        assert not isinstance(stop.value, BudgetSpent)
    if damage:
        assert file.read_bytes() == damage, "it is left as it is"


@pytest.mark.parametrize(
    "change", ["day = 'yesterday'", "day = 5", "day = '9999-12-31', calls = 9"]
)
def test_a_count_of_nonsense_stops_the_asking(tmp_path, change):
    of = budget(tmp_path, per_day=5)
    of.spend()
    with closing(sqlite3.connect(tmp_path / "budget.sqlite")) as file, file:
        file.execute(f"UPDATE days SET {change}")
    with pytest.raises(
        ProviderStopped, match=r"budget\.sqlite: the count of calls is damaged .*remove the file"
    ):
        of.spend()
