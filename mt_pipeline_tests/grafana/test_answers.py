"""The row `Answers of paid providers` of the dashboard `mt-pipeline`, against the calls made."""

import time
from collections.abc import Iterator, Mapping

import psycopg
import pytest

from mt_pipeline.definitions import build_defs
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import tls_session
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.grafana.plugin import expand, queries
from mt_pipeline_tests.pipelines import Lab

EXPERIMENT = "dashboards_paid"
KEYS = tuple(f"{EXPERIMENT}/{letter}.pcap" for letter in "ab")
ENDPOINTS = 2
"""Of each capture: a server, which both have, and a name of its own."""

BUDGET = 2
QUERIES = {query.title: query.sql for query in queries() if query.dashboard == "mt-pipeline"}


class Paid:
    """Load two captures whose endpoints Netify is asked about, for the dashboard since then."""

    def __init__(self, lab: Lab, netify: FakeNetify) -> None:
        self.lab, self.netify, self.start = lab, netify, time.time_ns() // 1000
        for key in KEYS:
            path = lab.inbox / key
            path.parent.mkdir(parents=True, exist_ok=True)
            write_pcap(path, timed(tls_session(f"www.{path.stem}.com")))

    def workspace(self, **changes: object) -> Workspace:
        asks = {
            "enrichment": "netify",
            "netify_api_key": "s3cret",
            "netify_url": self.netify.url,
            "netify_rate": 1000,
            "netify_budget_day": BUDGET,
        }
        return self.lab.workspace(
            **{"data_dir": self.lab.data / EXPERIMENT, "inbox": self.lab.inbox, **asks, **changes}
        )

    def refresh(self, **changes: object) -> None:
        job = build_defs(workspace=self.workspace(**changes)).resolve_job_def("refresh_answers")
        assert job.execute_in_process(instance=self.lab.instance, raise_on_error=False).success

    def panel(self, title: str) -> list[Mapping[str, object]]:
        """Ask the query of a panel, all time since the start in one interval."""
        sql = expand(
            QUERIES[title],
            start=self.start,
            end=time.time_ns() // 1000,
            experiment=EXPERIMENT,
            step="100y",
        )
        with self.lab.database.connect() as connection:
            connection.execute("SELECT wait_wal_table('captures')")
            return (
                connection.cursor(row_factory=psycopg.rows.dict_row)
                .execute(sql.encode())
                .fetchall()
            )

    def latest(self) -> Mapping[str, tuple[object, ...]]:
        """Return the answers of each capture in the table of latest loads."""
        names = ("endpoints", "cache_hits", "calls", "pending", "owed")
        return {
            str(row["capture"]): tuple(row[name] for name in names)
            for row in self.panel("Latest load of each capture")
        }


@pytest.fixture
def paid(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paid]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeNetify() as netify:
        yield Paid(lab, netify)


def test_cache_hits_calls_against_the_budget_and_what_is_owed_are_told(paid: Paid):
    for key in KEYS:
        assert paid.lab.run(key, workspace=paid.workspace()).success
    asked = len(paid.netify.requests())

    assert asked == BUDGET
    # Of the second capture the server was known, and its name waits for the budget.
    assert paid.latest() == {KEYS[0]: (ENDPOINTS, 0, 2, 0, 0), KEYS[1]: (ENDPOINTS, 1, 0, 1, 1)}
    assert [row["cache_hits"] for row in paid.panel("Cache hits")] == [pytest.approx(1 / 3)]
    assert [(row["calls"], row["budget"]) for row in paid.panel("Calls a day and the budget")] == [
        (asked, BUDGET)
    ]
    assert [(row["owed"], row["pending"]) for row in paid.panel("Answers owed")] == [(1, 1)]
    [now] = paid.panel("Captures as they are")
    assert now["owed"] == 1

    paid.refresh(netify_budget_day=10)

    assert len(paid.netify.requests()) == asked + 1
    assert paid.latest()[KEYS[1]] == (ENDPOINTS, ENDPOINTS, 0, 0, 0)
    assert [(row["calls"], row["budget"]) for row in paid.panel("Calls a day and the budget")] == [
        (asked + 1, 10)
    ]
    [now] = paid.panel("Captures as they are")
    assert now["owed"] == 0

    # An answer that expired while no provider may be asked is owed. A refresh finds it unchanged,
    # so no row changes and nothing is loaded.
    assert paid.lab.run(
        KEYS[0], workspace=paid.workspace(netify_budget_day=0, answer_days=0)
    ).success
    [now] = paid.panel("Captures as they are")
    assert now["owed"] == ENDPOINTS
    loads = sum(row["value"] for row in paid.panel("Loads by outcome"))
    paid.refresh(netify_budget_day=10)
    [now] = paid.panel("Captures as they are")
    assert now["owed"] == 0
    assert sum(row["value"] for row in paid.panel("Loads by outcome")) == loads
