"""Stale, pending and owed answers, and look-ups without asking."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.estimate import Calls, Cost, cost
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts, Kind
from mt_pipeline.enrichment.paid_lookup import FAILURES_IN_A_ROW
from mt_pipeline.enrichment.provider import BudgetSpent, EndpointFailed, ProviderStopped
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, addresses, endpoints_file, rows_of

QUAD9 = Endpoint("address", "9.9.9.9")
CLOUDFLARE = Endpoint("address", "1.1.1.1")
PLACE = {
    "geo_continent": "Europe",
    "geo_country": "Italy",
    "geo_city": "Rome",
    "geo_lon": 12.5,
    "geo_lat": 41.9,
}


class Lab:
    """A paid provider: it knows everything, until it has been asked so often, then it raises."""

    def __init__(
        self,
        name: str = "lab",
        *,
        calls: int = 1_000_000,
        then: Exception | None = None,
        facts: Facts = Facts(app_tag="new"),  # noqa: B008
    ) -> None:  # noqa: B008, RUF100
        self.name = name
        self.kinds: frozenset[Kind] = frozenset({"address", "name"})
        self.asked: list[str] = []
        self._calls = calls
        self._then = then or BudgetSpent("the budget of the day is spent")
        self._facts = facts

    def ask(self, endpoint: Endpoint) -> Answer:
        if len(self.asked) >= self._calls:
            raise self._then
        self.asked.append(endpoint.value)
        return Answer(endpoint, self.name, True, datetime.now(UTC), self._facts)


class Map:
    """A free provider: a place for every address."""

    name = "map"
    kinds: frozenset[Kind] = frozenset({"address"})

    def look_up(self, kind: Kind, endpoints: Sequence[str]) -> list[Facts | None]:
        return [Facts(**PLACE)] * len(endpoints)


@pytest.fixture
def endpoints(tmp_path: Path) -> Path:
    return endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE, QUAD9, CLOUDFLARE, NETFLIX])


def stored(
    store: AnswerStore,
    endpoint: Endpoint,
    *,
    days: float,
    app: str | None = "old",
    provider: str = "lab",
) -> Answer:
    """Store an answer of some days ago, and return it."""
    answer = Answer(
        endpoint,
        provider,
        app is not None,
        datetime.now(UTC) - timedelta(days=days),
        Facts(app_tag=app),
    )
    store.put(answer)
    return answer


def columns_of(output: Path, *columns: str) -> list[tuple[object, ...]]:
    """Return some columns of a file of answers."""
    return [tuple(row[column] for column in columns) for row in rows_of(output).values()]


def test_what_the_budget_does_not_reach_is_pending_owed_and_a_warning(
    tmp_path, endpoints, store, caplog
):
    lab = Lab(calls=2)
    counts = enrich(endpoints, tmp_path / "out", providers=[lab], store=store)
    assert counts == Counts(
        endpoints=4,
        asked=2,
        answered=2,
        pending=2,
        owed=2,
        stopped="the budget of the day is spent",
    )
    assert counts.by_provider["lab"].missing == 2
    assert (
        columns_of(tmp_path / "out", "state", "owed")
        == [("answered", False)] * 2 + [("pending", True)] * 2
    )
    assert [record.levelno for record in caplog.records if "budget" in record.message] == [
        logging.WARNING
    ]


def test_a_stale_answer_beats_none_when_the_budget_is_spent(tmp_path, endpoints, store):
    stale = stored(store, QUAD9, days=30)
    stored(store, CLOUDFLARE, days=2, app=None)
    counts = enrich(endpoints, tmp_path / "out", providers=[Lab(calls=0)], store=store)
    assert counts == Counts(
        endpoints=4,
        answered=1,
        not_found=1,
        pending=2,
        stale=2,
        owed=4,
        stopped="the budget of the day is spent",
    )
    assert (counts.by_provider["lab"].missing, counts.by_provider["lab"].stale) == (2, 2)
    assert columns_of(tmp_path / "out", "endpoint", "state", "app_tag", "asked_at", "owed")[1] == (
        "9.9.9.9",
        "answered",
        "old",
        stale.asked_at,
        True,
    )
    assert store.tallies() == {}


@pytest.mark.parametrize("how", ["stopped", "endpoint failed", "fails each time"])
def test_a_stale_answer_beats_none_when_the_provider_does_not_answer(
    tmp_path, endpoints, store, how, caplog
):
    stored(store, GOOGLE, days=300)
    then = ProviderStopped("no network") if how == "stopped" else EndpointFailed("HTTP 500")
    many = (
        endpoints_file(tmp_path / "many", [GOOGLE, *addresses(FAILURES_IN_A_ROW + 5)])
        if how == "fails each time"
        else endpoints
    )
    counts = enrich(many, tmp_path / "out", providers=[Lab(calls=0, then=then)], store=store)
    rows = rows_of(tmp_path / "out")
    assert (counts.answered, counts.stale, counts.owed) == (1, 1, counts.endpoints)
    assert (rows["8.8.8.8"]["app_tag"], rows["8.8.8.8"]["state"], rows["8.8.8.8"]["owed"]) == (
        "old",
        "answered",
        True,
    )
    assert {row["owed"] for row in rows.values()} == {True}
    asked = {"stopped": 1, "endpoint failed": 4, "fails each time": FAILURES_IN_A_ROW}[how]
    assert (counts.asked, counts.failed) == (asked, 0 if how == "stopped" else asked - 1)
    assert [record.levelname for record in caplog.records if "stopped" in record.message] == (
        [] if how == "endpoint failed" else ["ERROR"]
    )


def test_an_answer_that_is_still_good_is_neither_stale_nor_owed_when_the_budget_is_spent(
    tmp_path, endpoints, store
):
    for endpoint in (GOOGLE, QUAD9, CLOUDFLARE, NETFLIX):
        stored(store, endpoint, days=1)
    assert enrich(endpoints, tmp_path / "out", providers=[Lab(calls=0)], store=store) == Counts(
        endpoints=4, cached=4, answered=4
    )


def test_an_endpoint_is_owed_if_any_paid_provider_owes_it(tmp_path, endpoints, store):
    first, second = (
        Lab("first", calls=3),
        Lab(
            "second",
            calls=1,
            then=ProviderStopped("down"),
            facts=Facts(app_category_tag="c", **PLACE),
        ),
    )
    counts = enrich(endpoints, tmp_path / "out", providers=[first, second, Map()], store=store)
    assert columns_of(tmp_path / "out", "endpoint", "state", "owed") == [
        ("8.8.8.8", "answered", False),
        ("9.9.9.9", "answered", True),
        ("1.1.1.1", "answered", True),
        ("www.netflix.com", "pending", True),
    ]
    assert (counts.owed, counts.pending, counts.stopped) == (
        3,
        1,
        "the budget of the day is spent; down",
    )
    assert {
        name: (one.pending, one.not_asked, one.owed) for name, one in counts.by_provider.items()
    } == {
        "first": (1, 0, 1),
        "second": (0, 3, 3),
        "map": (0, 0, 0),
    }


def test_without_asking_what_is_kept_counts_however_old_and_the_rest_is_owed(
    tmp_path, endpoints, store
):
    stored(store, GOOGLE, days=1)
    stored(store, QUAD9, days=100)
    lab = Lab()
    counts = enrich(endpoints, tmp_path / "out", providers=[lab, Map()], store=store, ask=False)
    assert lab.asked == []
    assert counts == Counts(endpoints=4, cached=1, stale=1, answered=3, not_asked=1, owed=3)
    assert (counts.by_provider["lab"].missing, counts.by_provider["map"].answered) == (2, 3)
    assert columns_of(tmp_path / "out", "endpoint", "state", "app_tag", "geo_city", "owed") == [
        ("8.8.8.8", "answered", "old", "Rome", False),
        ("9.9.9.9", "answered", "old", "Rome", True),
        ("1.1.1.1", "answered", None, "Rome", True),
        ("www.netflix.com", "not_asked", None, None, True),
    ]


def test_as_of_a_moment_only_what_was_known_then_counts_and_the_file_is_the_same_ever_after(
    tmp_path, endpoints, store
):
    before = stored(store, GOOGLE, days=100, app="before")
    stored(store, GOOGLE, days=50, app="after")
    stored(store, QUAD9, days=50)
    moment, lab = datetime.now(UTC) - timedelta(days=60), Lab()
    files = []
    for name in ("first", "second"):
        counts = enrich(
            endpoints, tmp_path / name, providers=[lab, Map()], store=store, as_of=moment
        )
        assert counts == Counts(endpoints=4, cached=1, answered=3, not_asked=1)
        assert counts.by_provider["lab"].missing == 0
        files.append((tmp_path / name).read_bytes())
        stored(store, GOOGLE, days=1, app="after")
        stored(store, NETFLIX, days=1)
    assert files[0] == files[1]
    assert lab.asked == []
    assert columns_of(tmp_path / "first", "app_tag", "asked_at", "owed")[0] == (
        "before",
        before.asked_at,
        False,
    )


def test_several_captures_are_asked_about_as_one_and_the_most_useful_of_all_first(tmp_path, store):
    def part(name: str, **sizes: tuple[int, int]) -> Path:
        table = {
            "kind": ["name"] * len(sizes),
            "endpoint": list(sizes),
            "bytes": [b for b, _ in sizes.values()],
            "packets": [p for _, p in sizes.values()],
        }
        pq.write_table(pa.table(table), tmp_path / name)
        return tmp_path / name

    lab = Lab()
    files = [
        part("one", both=(600, 1), large=(1000, 1), few=(5, 1)),
        part("two", both=(500, 2), more=(5, 2)),
        endpoints_file(tmp_path / "three", []),
    ]
    assert enrich(files, tmp_path / "out", providers=[lab], store=store).endpoints == 4
    assert lab.asked == ["both", "large", "more", "few"]
    assert [row[0] for row in columns_of(tmp_path / "out", "endpoint")] == lab.asked
    assert enrich([], tmp_path / "none", providers=[lab], store=store) == Counts()


def test_look_ups_count_as_hits_misses_and_calls_saved(tmp_path, endpoints):
    with AnswerStore(tmp_path / "answers", answer_days=14, not_found_days=1) as store:
        stored(store, GOOGLE, days=1)
        stored(store, QUAD9, days=100)
        enrich(
            endpoints, tmp_path / "out", providers=[Lab()], store=store, ask=False
        )  # a hit, a stale hit, two misses
        enrich(
            endpoints, tmp_path / "out", providers=[Lab()], store=store
        )  # a hit that saves a call, three misses
        enrich(
            endpoints, tmp_path / "out", providers=[Lab()], store=store
        )  # four hits that save a call
    with AnswerStore(tmp_path / "answers", answer_days=14, not_found_days=1) as store:
        assert store.tallies() == {"lab": Tally(hits=7, misses=5, calls_saved=5)}


def test_the_cost_is_counted_without_asking_and_is_what_asking_then_takes(
    tmp_path, endpoints, store
):
    more = endpoints_file(tmp_path / "more.parquet", [GOOGLE, Endpoint("name", "b.example")])
    stored(store, GOOGLE, days=1)
    stored(store, QUAD9, days=100)
    lab = Lab()
    estimate = cost([endpoints, more], providers=[lab, Map()], store=store)
    assert estimate == Cost(endpoints=5, by_provider={"lab": Calls(cached=1, calls=4)})
    assert lab.asked == []
    counts = enrich([endpoints, more], tmp_path / "out", providers=[lab, Map()], store=store)
    assert (counts.asked, counts.cached) == (4, 1)
    assert cost([endpoints, more], providers=[lab], store=store).by_provider == {
        "lab": Calls(cached=5, calls=0)
    }


def test_the_cost_of_a_later_provider_leaves_out_what_those_before_it_know(
    tmp_path, endpoints, store
):
    all_of_it = Lab("paid", facts=Facts(app_tag="a", app_category_tag="c", **PLACE))
    store.put(
        Answer(GOOGLE, "paid", True, datetime.now(UTC), Facts(app_tag="a", app_category_tag="c"))
    )
    chain = [Map(), all_of_it, Lab("second")]
    assert cost([endpoints], providers=chain, store=store).by_provider == {
        "paid": Calls(cached=1, calls=3),
        "second": Calls(cached=0, calls=3),
    }


def test_the_cost_without_a_store_is_everything(endpoints):
    assert cost([endpoints], providers=[Lab()], store=None) == Cost(
        4, {"lab": Calls(cached=0, calls=4)}
    )
