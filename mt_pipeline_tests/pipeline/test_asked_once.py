"""Each endpoint is asked once, and no call exceeds the budget, with many processes and kills."""

import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mt_pipeline.backends.questdb.server import Server
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.crowd import PROCESSES, captures, crowd, done, ended, start
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.pipelines import PACKETS, Lab, open_lab


@pytest.fixture(scope="module")
def own_lab(questdb: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A data folder of this module: no other test has asked anything there."""
    with open_lab(tmp_path_factory.mktemp("asked") / "data", questdb) as opened:
        yield opened


@pytest.fixture
def netify(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNetify]:
    """Serve a fake Netify for one test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeNetify() as fake:
        yield fake


def days_pass(data: Path, days: int) -> None:
    """Let so many days pass: the days that were counted move back."""
    with closing(sqlite3.connect(data / "cache" / "budget.sqlite")) as file, file:
        assert file.execute(f"UPDATE days SET day = date(day, '{-days} days')").rowcount >= 1


def test_whatever_an_endpoint_is_called_it_is_asked_once_or_never(own_lab: Lab, netify: FakeNetify):
    asked = [
        "under_score.example.com",
        "dotted.example.com",
        "xn--bcher-kva.example.com",
        "y" * 63 + ".example.com",
    ]
    never = [
        b"b\xc3\xbccher.example.com",
        "n" * 300,
        ".".join(["n" * 60] * 5) + ".com",
        "printer.local",
        "8.8.8.8",
        "::ffff:8.8.8.8",
    ]
    spelled = [*asked, "dotted.example.com.", "DOTTED.example.com", "XN--BCHER-KVA.example.com."]
    for key in ("odd/a.pcap", "odd/b.pcap"):
        sessions = [
            traffic.tls_session(name, client_port=50_000 + place, server="9.9.9.9")
            for place, name in enumerate([*spelled, *never])
        ]
        mapped = [
            traffic.udp_exchange([(True, b"x")], client="::ffff:192.168.1.20", server=server)
            for server in ("::ffff:8.8.8.8", "::ffff:10.0.0.1")
        ]
        own_lab.put(key, b"")
        write_pcap(
            own_lab.inbox / key,
            timed([frame for frames in [*sessions, *mapped] for frame in frames]),
        )
    workspace = own_lab.workspace(
        enrichment="netify", netify_api_key="k", netify_url=netify.url, netify_rate=1000
    )
    ran = own_lab.run("odd/a.pcap", "odd/b.pcap", workspace=workspace)

    assert ran.success, ran.failure
    assert sorted(netify.asked()) == sorted([*asked, "9.9.9.9"])
    rows = own_lab.rows(
        "odd", ("tls_sni", "tls_sni_netify_app_tag", "ipv6_dst", "ip_dst_type"), key="odd/b.pcap"
    )
    assert {row[0] for row in rows if row[1] == "example-app"} == set(spelled)
    assert {row[3] for row in rows if str(row[2]).startswith("::ffff:")} == {"LOCAL"}


def test_a_run_of_several_captures_has_one_budget_and_the_page_says_how_much_is_spent(
    own_lab: Lab, netify: FakeNetify
):
    keys = [f"budget/{number}.pcap" for number in range(3)]
    for number, key in enumerate(keys):
        own_lab.put(key, b"")
        frames = [
            frame for place in range(2) for frame in traffic.dns(resolver=f"9.{number}.{place}.9")
        ]
        write_pcap(own_lab.inbox / key, timed(frames))
    limits = {"netify_budget_run": 3, "netify_budget_day": 100}
    workspace = own_lab.workspace(
        enrichment="netify", netify_api_key="k", netify_url=netify.url, netify_rate=1000, **limits
    )
    ran = own_lab.run(*keys, workspace=workspace)

    assert ran.success, "what nobody may ask stays unknown, and the rows are there"
    assert len(own_lab.rows("budget")) == 3 * 2 * PACKETS
    assert netify.asked() == ["9.0.0.9", "9.0.1.9", "9.1.0.9"]
    result = [ran.metadata("netify_enrichment", key) for key in keys]
    before = result[0]["calls_today"] - 2
    assert [one["calls_today"] - before for one in result] == [2, 3, 3]
    assert {one["budget_today"] for one in result} == {100}
    assert "MT_NETIFY_BUDGET_RUN allows 3 calls a run, and 3 were made" in str(result[2]["stopped"])
    assert own_lab.run(keys[2], workspace=workspace).success
    assert netify.asked()[3:] == ["9.2.0.9", "9.2.1.9"], "the next run has a budget of its own"


def test_without_netify_the_page_speaks_of_no_calls(own_lab: Lab):
    own_lab.put("nobody/a.pcap")
    result = own_lab.run(
        "nobody/a.pcap", workspace=own_lab.workspace(enrichment="offline", netify_budget_day=5)
    ).metadata("netify_enrichment", "nobody/a.pcap")
    assert not {"calls_today", "budget_today"} & set(result)


def test_a_thousand_endpoints_of_a_hundred_captures_are_a_thousand_requests(
    tmp_path: Path, netify: FakeNetify
):
    """Four processes at once; `python -m mt_pipeline_tests.crowd` does the same at any size."""
    files = captures(tmp_path / "captures", endpoints=1000, count=100)
    crowd(tmp_path / "data", files, url=netify.url)
    asked = netify.asked()
    assert len(asked) == len(set(asked)) == 1000
    assert all(
        set(pq.read_table(done(file))["state"].to_pylist()) == {"answered"} for file in files
    )


def test_a_hundred_calls_a_day_are_a_hundred_requests_a_day(tmp_path: Path, netify: FakeNetify):
    files = captures(tmp_path / "captures", endpoints=200, count=20)
    crowd(tmp_path / "data", files, url=netify.url, netify_budget_day=100)
    assert len(netify.asked()) == 100
    forget(files)
    ended(
        [
            start(
                tmp_path / "data",
                files,
                url=netify.url,
                run="on the same day",
                netify_budget_day=100,
            )
        ]
    )
    assert len(netify.asked()) == 100
    forget(files)
    days_pass(tmp_path / "data", 1)
    crowd(tmp_path / "data", files, url=netify.url, netify_budget_day=100)
    assert len(netify.asked()) == len(set(netify.asked())) == 200


def forget(files: list[Path]) -> None:
    """Let the captures be enriched anew."""
    for file in files:
        done(file).unlink()


def test_kills_at_any_moment_cost_at_most_the_request_in_flight(tmp_path: Path, netify: FakeNetify):
    files = captures(tmp_path / "captures", endpoints=400, count=40)
    rnd = random.Random(7)  # noqa: S311  the same moments, as far as that can be
    netify.say(delay=0.004)

    def begun(number: int) -> "subprocess.Popen[str]":
        return start(
            tmp_path / "data",
            files[number::PROCESSES],
            url=netify.url,
            run="one",
            netify_budget_run=1000,
        )

    processes = [begun(number) for number in range(PROCESSES)]
    kills: list[tuple[float, float]] = []
    while len(kills) < 8 and any(process.poll() is None for process in processes):
        seen, deadline = len(netify.asked()), time.monotonic() + 20
        while len(netify.asked()) < seen + 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(rnd.uniform(0, 0.2))
        number = rnd.randrange(PROCESSES)
        began = time.time()
        processes[number].kill()
        processes[number].communicate()
        kills.append((began, time.time()))
        processes[number] = begun(number)
    ended(processes)

    requests = netify.requests()
    assert len({seen.endpoint for seen in requests}) == 400
    assert all(
        set(pq.read_table(done(file))["state"].to_pylist()) == {"answered"} for file in files
    )
    last = {seen.endpoint: seen for seen in requests}
    twice = [seen for seen in requests if seen is not last[seen.endpoint]]
    assert len(twice) <= len(kills)
    for (
        lost
    ) in twice:  # it was being answered, or its answer was being kept, when someone was killed
        assert any(
            lost.began <= after and (lost.ended or after) >= before - 2 for before, after in kills
        )
    with closing(sqlite3.connect(tmp_path / "data" / "cache" / "budget.sqlite")) as file:
        [(counted,)] = file.execute("SELECT calls FROM runs WHERE run = 'one'")
    assert len(requests) <= counted <= len(requests) + len(kills)
