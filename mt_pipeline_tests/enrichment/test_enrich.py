"""The stage: complete files, right counts, whatever the provider does."""

import signal
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.chain import SCHEMA
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.offline.provider import Offline
from mt_pipeline.enrichment.paid_lookup import FAILURES_IN_A_ROW
from mt_pipeline.packets.endpoints import REMOTE_NAME
from mt_pipeline_tests.enrichment.parts import (
    GOOGLE,
    NETFLIX,
    QUICK,
    addresses,
    counts_of,
    endpoints_file,
    rows_of,
    start,
)

QUAD9 = Endpoint("address", "9.9.9.9")
CLOUDFLARE = Endpoint("address", "1.1.1.1")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "enrichment" / "kitchen" / "one.parquet"


def test_every_endpoint_is_a_row_with_what_is_known(tmp_path, output, fake_netify, netify, store):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE, QUAD9, NETFLIX])
    fake_netify.say("9.9.9.9", status=404)
    began = datetime.now(UTC)
    counts = enrich(endpoints, output, providers=[netify(fake_netify)], store=store)
    assert counts == Counts(endpoints=3, asked=3, answered=2, not_found=1)
    assert pq.read_schema(output) == SCHEMA
    rows = rows_of(output)
    assert all(began <= row.pop("asked_at") <= datetime.now(UTC) for row in rows.values())
    assert rows == {
        "8.8.8.8": {
            **{
                "kind": "address",
                "endpoint": "8.8.8.8",
                "state": "answered",
                "provider": "netify",
                "owed": False,
            },
            **{"app_tag": "example-app", "app_category_tag": "business", "domain_tag": None},
            **{
                "geo_continent": "Europe",
                "geo_country": "Germany",
                "geo_city": "Berlin",
                "geo_lon": 13.405,
                "geo_lat": 52.52,
                "reverse_name": "host.example",
            },
        },
        "9.9.9.9": {
            **{
                "kind": "address",
                "endpoint": "9.9.9.9",
                "state": "not_found",
                "provider": "netify",
                "owed": False,
            },
            **dict.fromkeys(SCHEMA.names[6:]),
        },
        "www.netflix.com": {
            **{
                "kind": "name",
                "endpoint": "www.netflix.com",
                "state": "answered",
                "provider": "netify",
                "owed": False,
            },
            **dict.fromkeys(SCHEMA.names[6:]),
            **{
                "app_tag": "example-app",
                "app_category_tag": "business",
                "domain_tag": "technology",
            },
        },
    }


def test_without_a_provider_nobody_is_asked(tmp_path, output):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE, NETFLIX])
    assert enrich(endpoints, output, providers=()) == Counts(endpoints=2, not_asked=2)
    assert pq.read_schema(output) == SCHEMA
    nothing = {**dict.fromkeys(SCHEMA.names[3:]), "owed": False}
    assert rows_of(output) == {
        "8.8.8.8": {"kind": "address", "endpoint": "8.8.8.8", "state": "not_asked", **nothing},
        "www.netflix.com": {
            "kind": "name",
            "endpoint": "www.netflix.com",
            "state": "not_asked",
            **nothing,
        },
    }


@pytest.mark.parametrize("asks", [True, False])
def test_no_endpoints_are_a_file_without_rows(tmp_path, output, fake_netify, netify, store, asks):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [])
    assert (
        enrich(endpoints, output, providers=[netify(fake_netify)] if asks else [], store=store)
        == Counts()
    )
    assert pq.read_table(output).schema == SCHEMA


def test_the_most_useful_are_asked_first(tmp_path, output, fake_netify, netify, store):
    endpoints = tmp_path / "endpoints.parquet"
    values = ["few", "many-bytes", "same-b", "same-a", "more-packets"]
    table = {
        "kind": ["name"] * 5,
        "endpoint": values,
        "packets": [9, 1, 2, 2, 3],
        "bytes": [10, 5000, 700, 700, 700],
    }
    pq.write_table(pa.table(table), endpoints)
    enrich(endpoints, output, providers=[netify(fake_netify)], store=store)
    assert fake_netify.asked() == ["many-bytes", "more-packets", "same-a", "same-b", "few"]


def test_what_is_known_is_not_asked_again(tmp_path, output, fake_netify, netify, store):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE, QUAD9])
    fake_netify.say("9.9.9.9", status=404)
    provider = netify(fake_netify)
    enrich(endpoints, output, providers=[provider], store=store)
    first = rows_of(output)
    assert enrich(endpoints, output, providers=[provider], store=store) == Counts(
        endpoints=2, cached=2, answered=1, not_found=1
    )
    assert rows_of(output) == first
    assert len(fake_netify.asked()) == 2


def test_a_failed_endpoint_stays_unknown_and_is_asked_in_the_next_run(
    tmp_path, output, fake_netify, netify, store
):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE, QUAD9])
    fake_netify.say("8.8.8.8", status=500, times=QUICK.tries)
    provider = netify(fake_netify)
    assert enrich(endpoints, output, providers=[provider], store=store) == Counts(
        endpoints=2, asked=2, answered=1, failed=1, owed=1
    )
    nothing = {**dict.fromkeys(SCHEMA.names[3:]), "owed": True}
    assert rows_of(output)["8.8.8.8"] == {
        "kind": "address",
        "endpoint": "8.8.8.8",
        "state": "failed",
        **nothing,
    }
    assert enrich(endpoints, output, providers=[provider], store=store) == Counts(
        endpoints=2, cached=1, asked=1, answered=2
    )
    assert rows_of(output)["8.8.8.8"]["state"] == "answered"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_asking_with_one_request_and_the_file_is_complete(
    tmp_path, output, fake_netify, netify, store, status, caplog
):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [*addresses(50), QUAD9])
    store.put(Answer(QUAD9, "netify", True, datetime.now(UTC), Facts(app_tag="quad9")))
    fake_netify.say(status=status)
    counts = enrich(endpoints, output, providers=[netify(fake_netify)], store=store)
    assert "MT_NETIFY_API_KEY" in counts.stopped
    assert counts == Counts(
        endpoints=51, cached=1, asked=1, answered=1, not_asked=50, owed=50, stopped=counts.stopped
    )
    assert len(fake_netify.asked()) == 1
    assert rows_of(output)["9.9.9.9"]["app_tag"] == "quad9"
    nothing = {**dict.fromkeys(SCHEMA.names[3:]), "owed": True}
    assert rows_of(output)["8.0.0.7"] == {
        "kind": "address",
        "endpoint": "8.0.0.7",
        "state": "not_asked",
        **nothing,
    }
    assert counts.stopped in caplog.text


def test_too_many_requests_in_the_middle_keeps_what_was_answered(
    tmp_path, output, fake_netify, netify, store
):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", addresses(5))
    fake_netify.say(status=429, headers={"Retry-After": "3600"})
    fake_netify.say(times=2)
    counts = enrich(endpoints, output, providers=[netify(fake_netify)], store=store)
    assert (counts.answered, counts.not_asked) == (2, 3)
    assert len(fake_netify.asked()) == 3
    fake_netify.reset()
    later = netify(fake_netify, rate_file=tmp_path / "an hour later.sqlite")
    assert enrich(endpoints, output, providers=[later], store=store) == Counts(
        endpoints=5, cached=2, asked=3, answered=5
    )


def test_a_server_that_fails_every_time_is_left_alone_soon(
    tmp_path, output, fake_netify, netify, store
):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", addresses(40))
    fake_netify.say(status=500)
    counts = enrich(endpoints, output, providers=[netify(fake_netify)], store=store)
    left = 40 - FAILURES_IN_A_ROW
    assert counts == Counts(
        endpoints=40,
        asked=FAILURES_IN_A_ROW,
        failed=FAILURES_IN_A_ROW,
        not_asked=left,
        owed=40,
        stopped=counts.stopped,
    )
    assert "HTTP 500" in counts.stopped
    assert len(fake_netify.asked()) == FAILURES_IN_A_ROW * QUICK.tries


def test_a_provider_needs_a_store(tmp_path, output, fake_netify, netify):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE])
    with pytest.raises(ValueError, match="needs a store"):
        enrich(endpoints, output, providers=[netify(fake_netify)])
    assert not output.exists()


def test_progress_is_told_while_it_asks(tmp_path, output, fake_netify, netify, store):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", addresses(4))
    fake_netify.say(delay=0.4)
    reports: list[tuple[Counts, int]] = []
    enrich(
        endpoints,
        output,
        providers=[netify(fake_netify)],
        store=store,
        progress=lambda counts, total: reports.append((counts, total)),
    )
    assert reports
    assert {total for _, total in reports} == {4}
    assert [counts.endpoints for counts, _ in reports] == sorted(
        {counts.endpoints for counts, _ in reports}
    )


def test_an_interruption_keeps_what_was_paid_and_leaves_no_file(
    tmp_path, output, fake_netify, netify, store
):
    """The progress call raises here; for users it is Ctrl-C or a cancelled run."""
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", addresses(6))
    fake_netify.say(delay=0.2)

    def interrupt(counts: Counts, total: int) -> None:
        raise KeyboardInterrupt

    provider = netify(fake_netify)
    with pytest.raises(KeyboardInterrupt):
        enrich(endpoints, output, providers=[provider], store=store, progress=interrupt)
    paid = len(fake_netify.asked())
    assert 0 < paid < 6
    assert list(output.parent.iterdir()) == []
    assert enrich(endpoints, output, providers=[provider], store=store) == Counts(
        endpoints=6, cached=paid, asked=6 - paid, answered=6
    )


def test_a_killed_run_keeps_what_was_paid(tmp_path, output, fake_netify):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", addresses(120))
    fake_netify.say(delay=0.02)
    process = start(tmp_path / "cache", endpoints, output, url=fake_netify.url)
    deadline = time.monotonic() + 30
    while len(fake_netify.asked()) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 20 <= len(fake_netify.asked()) < 120
    assert not output.exists()
    assert (
        counts_of(start(tmp_path / "cache", endpoints, output, url=fake_netify.url))["answered"]
        == 120
    )
    # The one that was in flight may have been asked without its answer being stored.
    asked = fake_netify.asked()
    assert len(asked) - len(set(asked)) <= 1
    assert len(rows_of(output)) == 120


def test_two_processes_at_once_ask_each_endpoint_once_and_one_at_a_time(tmp_path, fake_netify):
    both, first, second = (
        addresses(60),
        [Endpoint("name", f"a{n}.example") for n in range(20)],
        [Endpoint("name", f"b{n}.example") for n in range(20)],
    )
    processes = []
    for number, own in enumerate([first, second]):
        endpoints = endpoints_file(tmp_path / f"endpoints{number}.parquet", [*both, *own])
        processes.append(
            start(
                tmp_path / "cache",
                endpoints,
                tmp_path / f"out{number}.parquet",
                url=fake_netify.url,
            )
        )
    counts = [counts_of(process) for process in processes]
    seen = fake_netify.requests()
    assert sorted(one.endpoint for one in seen) == sorted(
        endpoint.value for endpoint in [*both, *first, *second]
    )
    assert sum(one["asked"] for one in counts) == 100
    assert [one["answered"] for one in counts] == [80, 80]
    assert all(before.ended <= after.began + 0.005 for before, after in pairwise(seen)), (
        "one request in flight"
    )
    facts = [
        {name: row["app_tag"] for name, row in rows_of(tmp_path / f"out{number}.parquet").items()}
        for number in range(2)
    ]
    assert (
        {facts[0][endpoint.value] for endpoint in both}
        == {"example-app"}
        == {facts[1][endpoint.value] for endpoint in both}
    )


def test_two_processes_keep_one_rate_limit(tmp_path, fake_netify):
    processes = [
        start(
            tmp_path / "cache",
            endpoints_file(
                tmp_path / f"endpoints{number}.parquet", addresses(40)[number * 20 :][:20]
            ),
            tmp_path / f"out{number}.parquet",
            url=fake_netify.url,
            rate=10,
        )
        for number in range(2)
    ]
    assert [counts_of(process)["answered"] for process in processes] == [20, 20]
    moments = [one.began for one in fake_netify.requests()]
    rate = (len(moments) - 1) / (moments[-1] - moments[0])
    assert 5 < rate < 11


def test_many_endpoints_without_a_provider_are_fast(tmp_path, output):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", addresses(300_000))
    began = time.process_time()
    assert enrich(endpoints, output, providers=()).not_asked == 300_000
    assert time.process_time() - began < 5
    assert pq.read_metadata(output).num_rows == 300_000


def test_the_store_of_one_provider_is_shared_with_a_store_opened_elsewhere(
    tmp_path, output, fake_netify, netify, store
):
    endpoints = endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE])
    enrich(endpoints, output, providers=[netify(fake_netify)], store=store)
    with AnswerStore(tmp_path / "cache" / "answers", answer_days=14, not_found_days=1) as other:
        assert other.get("netify", GOOGLE).facts.app_tag == "example-app"


def with_other_names(path: Path, *names: str) -> Path:
    """Add names that only HTTP or DNS gives to a file of endpoints."""
    table = pq.read_table(path)
    others = endpoints_file(path.with_name("others"), [Endpoint("name", name) for name in names])
    more = pq.read_table(others)
    kinds = pa.array([REMOTE_NAME] * len(names), pa.string())
    pq.write_table(pa.concat_tables([table, more.set_column(0, "kind", kinds)]), path)
    return path


def test_names_that_only_http_or_dns_gives_are_looked_up_on_this_machine_alone(
    tmp_path, output, fake_netify, netify, store
):
    """A file that has one of them as a server name makes it one."""
    one = endpoints_file(tmp_path / "one.parquet", [GOOGLE])
    two = endpoints_file(tmp_path / "two.parquet", [NETFLIX])
    names = ("api.ring.com", "nobody.example.org", NETFLIX.value)
    paths = [with_other_names(one, *names), two]
    chain = [netify(fake_netify), Offline()]
    counts = enrich(paths, output, providers=chain, store=store)

    assert counts.endpoints == 2
    assert sorted(fake_netify.asked()) == [GOOGLE.value, NETFLIX.value]
    rows = rows_of(output)
    assert pq.read_table(output).num_rows == len(rows) == 4
    assert (rows["api.ring.com"]["kind"], rows["api.ring.com"]["app_tag"]) == ("name", "ring")
    assert rows["api.ring.com"]["provider"] == "offline"
    assert (rows["nobody.example.org"]["state"], rows["nobody.example.org"]["owed"]) == (
        "not_found",
        False,
    )


def test_paid_providers_are_asked_about_all_names_if_the_user_says_so(
    tmp_path, output, fake_netify, netify, store
):
    path = endpoints_file(tmp_path / "one.parquet", [NETFLIX])
    with_other_names(path, "api.ring.com", NETFLIX.value)
    counts = enrich(path, output, providers=[netify(fake_netify)], store=store, all_names=True)
    assert (counts.endpoints, counts.asked) == (2, 2)
    assert sorted(fake_netify.asked()) == ["api.ring.com", NETFLIX.value]
