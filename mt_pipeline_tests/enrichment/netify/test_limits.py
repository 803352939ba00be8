"""How often the provider asks: the budget, and the waits of the server, in all processes."""

import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest

from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.netify.client import RetryPolicy
from mt_pipeline.enrichment.netify.headers import LONGEST_RESET, until_reset
from mt_pipeline.enrichment.netify.rate_limit import LONGEST_HOLD, SharedRate
from mt_pipeline.enrichment.provider import BudgetSpent, EndpointFailed, ProviderStopped
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX

NONSENSE = [
    "",
    "soon",
    "nan",
    "inf",
    "-1",
    "1e400",
    "0x10",
    "60, 60",
    "9" * 30,
    "5",
    "1700000000",
    "Fri, 31 Dec 1999 23:59:59 GMT",
    "⁵",
]


def budget(folder: Path, *, per_day: int | None = None, per_run: int | None = None) -> Budget:
    return Budget(folder, provider="netify", run="one", per_day=per_day, per_run=per_run)


def left_none(**headers: str) -> dict[str, str]:
    """Say that no request is left."""
    return {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "0",
        **{f"X-RateLimit-{name}": value for name, value in headers.items()},
    }


def test_each_request_is_counted_and_what_is_not_allowed_is_not_sent(fake_netify, netify, tmp_path):
    provider = netify(fake_netify, budget=budget(tmp_path, per_day=2))
    assert provider.ask(GOOGLE).found
    assert provider.ask(NETFLIX).found
    for _ in range(2):
        with pytest.raises(
            BudgetSpent, match="MT_NETIFY_BUDGET_DAY allows 2 calls a day, and 2 were made"
        ):
            provider.ask(GOOGLE)
    assert fake_netify.asked() == [GOOGLE.value, NETFLIX.value]


def test_tries_are_counted_and_a_budget_that_ends_among_them_is_told_as_such(
    fake_netify, netify, tmp_path
):
    fake_netify.say(status=500)
    provider = netify(fake_netify, budget=budget(tmp_path, per_run=5))
    with pytest.raises(EndpointFailed):
        provider.ask(GOOGLE)
    with pytest.raises(BudgetSpent, match="MT_NETIFY_BUDGET_RUN"):
        provider.ask(NETFLIX)
    assert fake_netify.asked() == [GOOGLE.value] * 3 + [NETFLIX.value] * 2
    assert budget(tmp_path).spent_today() == 5


def test_a_budget_of_nothing_asks_nobody(fake_netify, netify, tmp_path):
    with pytest.raises(BudgetSpent, match="MT_NETIFY_BUDGET_DAY is 0"):
        netify(fake_netify, budget=budget(tmp_path, per_day=0)).ask(GOOGLE)
    assert fake_netify.asked() == []


def test_a_count_that_cannot_be_read_asks_nobody(fake_netify, netify, tmp_path):
    (tmp_path / "budget.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(ProviderStopped, match=r"budget\.sqlite.*remove the file"):
        netify(fake_netify, budget=budget(tmp_path)).ask(GOOGLE)
    assert fake_netify.asked() == []


def test_when_no_request_is_left_the_next_one_waits_for_the_reset(fake_netify, netify):
    fake_netify.say(headers=left_none(Reset="2"), times=1)
    provider = netify(fake_netify)
    assert provider.ask(GOOGLE).found
    assert provider.ask(NETFLIX).found
    assert provider.ask(GOOGLE).found
    moments = [seen.began for seen in fake_netify.requests()]
    waits = [after - before for before, after in pairwise(moments)]
    assert 1.8 <= waits[0] < 4
    assert waits[1] < 1


@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_reset_may_be_a_time_since_1970(fake_netify, netify, unit):
    moment = round(time.time()) + 3
    fake_netify.say(headers=left_none(Reset=str(moment * unit)), times=1)
    provider = netify(fake_netify)
    provider.ask(GOOGLE)
    provider.ask(NETFLIX)
    assert moment - 0.01 <= fake_netify.requests()[1].began < moment + 2


def test_a_reset_that_is_far_stops_all_processes_and_the_budget_stays(
    fake_netify, netify, tmp_path
):
    """Another object stands for another process: they share the files alone."""
    fake_netify.say(headers=left_none(Reset="3600"))
    assert netify(fake_netify, budget=budget(tmp_path)).ask(GOOGLE).found
    until = r"the server wants no request before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; run again then"
    for _ in range(2):
        with pytest.raises(ProviderStopped, match=until):
            netify(fake_netify, budget=budget(tmp_path)).ask(NETFLIX)
    assert fake_netify.asked() == [GOOGLE.value]
    assert budget(tmp_path).spent_today() == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_too_many_requests_with_a_reset_waits_for_it(fake_netify, netify, status):
    fake_netify.say(status=status, headers=left_none(Reset="2"), times=1)
    assert netify(fake_netify).ask(GOOGLE).found
    first, second = fake_netify.requests()
    assert 1.8 <= second.began - first.began < 4


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "3600"}, left_none(Reset="3600")],
    ids=["Retry-After", "X-RateLimit-Reset"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_long_wait_that_one_process_is_told_holds_back_all_others(
    fake_netify, netify, status, headers
):
    fake_netify.say(status=status, headers=headers)
    with pytest.raises((ProviderStopped, EndpointFailed), match=f"HTTP {status}"):
        netify(fake_netify).ask(GOOGLE)
    with pytest.raises(ProviderStopped, match="the server wants no request before"):
        netify(fake_netify).ask(NETFLIX)
    assert fake_netify.asked() == [GOOGLE.value]


def test_retry_after_as_a_date_holds_back_too(fake_netify, netify):
    fake_netify.say(
        status=429,
        headers={
            "Retry-After": format_datetime(
                datetime.fromtimestamp(time.time() + 3600, UTC), usegmt=True
            )
        },
    )
    with pytest.raises(ProviderStopped, match=r"asks for a wait of 3[56]\d\d s"):
        netify(fake_netify).ask(GOOGLE)
    with pytest.raises(ProviderStopped, match="the server wants no request before"):
        netify(fake_netify).ask(NETFLIX)


def test_retry_after_is_believed_rather_than_the_reset(fake_netify, netify):
    fake_netify.say(status=429, headers={"Retry-After": "1", **left_none(Reset="3600")}, times=1)
    assert netify(fake_netify).ask(GOOGLE).found


@pytest.mark.parametrize("reset", NONSENSE)
def test_a_reset_of_nonsense_does_no_harm(reset):
    wait = until_reset({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})
    assert wait == (5 if reset == "5" else None)


@pytest.mark.parametrize("remaining", ["", "none", "nan", "1", "4711", "0, 0", "1e400"])
def test_nobody_waits_while_requests_are_left_or_nobody_knows(remaining):
    assert until_reset({"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": "60"}) is None
    assert until_reset({"X-RateLimit-Reset": "60"}) is None
    assert until_reset({"X-RateLimit-Remaining": "0"}) is None


def test_a_reset_in_more_than_a_month_is_not_meant():
    assert until_reset(left_none(Reset=str(LONGEST_RESET))) == LONGEST_RESET
    assert until_reset(left_none(Reset=str(LONGEST_RESET + 1))) is None
    assert until_reset(left_none(Remaining="-3", Reset="7")) == 7


def test_headers_of_nonsense_cost_no_answer(fake_netify, netify):
    for value in NONSENSE[:-1]:  # the last one no header can carry
        fake_netify.say(
            headers={
                "X-RateLimit-Limit": value,
                "X-RateLimit-Remaining": value,
                "X-RateLimit-Reset": value,
                "Retry-After": value,
            },
            times=1,
        )
        assert netify(fake_netify).ask(GOOGLE).found


def test_all_wait_as_long_as_the_longest_hold_and_no_longer_than_a_day(tmp_path):
    rate, other = (SharedRate(tmp_path / "rate.sqlite", per_second=1000) for _ in range(2))
    rate.hold(10**9)
    rate.hold(1)
    with pytest.raises(ProviderStopped) as stop:
        other.wait(longest_hold=60)
    [time_text] = re.findall(r"before (.*) UTC", str(stop.value))
    until = datetime.strptime(time_text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert LONGEST_HOLD - 60 < (until - datetime.now(UTC)).total_seconds() <= LONGEST_HOLD


def test_a_hold_of_a_clock_that_was_set_back_is_over(tmp_path):
    rate = SharedRate(tmp_path / "rate.sqlite", per_second=1000)
    rate.hold(3600)
    with closing(sqlite3.connect(tmp_path / "rate.sqlite")) as file, file:
        assert (
            file.execute("UPDATE hold SET since = since + 7200, until = until + 7200").rowcount == 1
        )
    rate.wait(longest_hold=1)


def test_a_file_of_the_rate_that_breaks_costs_no_answer_that_was_paid(
    fake_netify, netify, tmp_path
):
    fake_netify.say(headers=left_none(Reset="3600"), delay=0.5)
    provider = netify(fake_netify)

    def damage() -> None:
        while not fake_netify.asked():
            time.sleep(0.02)
        (tmp_path / "cache" / "rate.sqlite").write_bytes(b"garbage" * 1000)

    with ThreadPoolExecutor() as pool:
        damaged = pool.submit(damage)
        assert provider.ask(GOOGLE).found
        damaged.result()
    with pytest.raises(ProviderStopped, match=r"rate\.sqlite.*not a database.*remove it"):
        provider.ask(NETFLIX)


def test_who_is_patient_waits_for_the_hold_of_another_and_who_is_not_stops(netify, fake_netify):
    fake_netify.say(headers=left_none(Reset="3"), times=1)
    netify(fake_netify).ask(GOOGLE)
    with pytest.raises(ProviderStopped):
        netify(fake_netify, retry=RetryPolicy(longest_wait=1)).ask(NETFLIX)
    assert netify(fake_netify, retry=RetryPolicy(longest_wait=5)).ask(NETFLIX).found
