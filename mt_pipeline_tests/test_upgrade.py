"""The data folder of an older release goes on working: commands, rows, answers, reports."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from mt_pipeline.backends.questdb.ddl import ensure_table
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.captures.records import State
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS, Table
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import cut, timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.pipelines import Lab, Result
from mt_pipeline_tests.report.parts import Page

Terminal = Callable[..., Result]

NEW = {
    "captured_packets": {"label", "conversation", "tcp_flags", "dns_rcode"},
    "flows": {"label", "tcp_state", "handshake_ms", "ja4", "http_method"},
    "captures": {"label"},
}
"""Columns that the older release did not have, by table."""

STATES = {
    "kitchen/all.pcapng": State.DONE,
    "kitchen/changes.pcap": State.DONE,
    "kitchen/monday.pcap": State.DONE,
    "lab/crashed.pcap": State.RUNNING,
    "lab/cut.pcap": State.DONE,
    "lab/damaged.pcap": State.FAILED,
    "lab/left.pcap": State.DONE,
    "lab/new.pcap": State.WAITING,
    "lab/purged.pcap": State.PURGED,
    "lab/text.pcap": State.REFUSED,
}


@pytest.fixture(scope="module")
def netify() -> Iterator[FakeNetify]:
    with FakeNetify() as fake:
        yield fake


@pytest.fixture
def upgraded(
    lab: Lab, terminal: Terminal, netify: FakeNetify, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """Make a folder with a capture in each state, as the older release left it."""
    monkeypatch.setenv("MT_BACKENDS", "questdb,parquet")
    monkeypatch.setenv("MT_ENRICHMENT", "netify")
    monkeypatch.setenv("MT_NETIFY_API_KEY", "a key")
    monkeypatch.setenv("MT_NETIFY_URL", netify.url)
    monkeypatch.setenv("MT_NETIFY_RATE", "1000")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with lab.database.connect() as connection:
        for table in (PACKETS, FLOWS, CAPTURES):
            ensure_table(connection, older(table))

    (lab.inbox / "kitchen").mkdir(parents=True)
    everything(lab.inbox / "kitchen" / "all.pcapng")
    session = timed([*tls_session("www.netflix.com"), *dns()])
    write_pcap(lab.inbox / "kitchen" / "monday.pcap", session)
    for key in ("kitchen/changes.pcap", "lab/crashed.pcap", "lab/left.pcap", "lab/purged.pcap"):
        lab.put(key)
    cut(write_pcap(lab.inbox / "lab" / "whole.pcap", session), 10)
    (lab.inbox / "lab" / "whole-cut.pcap").rename(lab.inbox / "lab" / "cut.pcap")
    (lab.inbox / "lab" / "whole.pcap").unlink()
    lab.put("lab/text.pcap", b"no capture at all")
    good = (lab.inbox / "lab" / "left.pcap").read_bytes()
    lab.put("lab/damaged.pcap", good[:24] + b"\xff" * 200)
    for experiment in ("kitchen", "lab"):
        terminal("ingest", lab.inbox / experiment)
    (lab.inbox / "lab" / "left.pcap").unlink()
    assert terminal("purge", "--capture", "lab/purged.pcap", "--yes").code == 0
    lab.put("lab/new.pcap")
    make_older(lab)
    return terminal


def older(table: Table) -> Table:
    columns = {name: kind for name, kind in table.columns.items() if name not in NEW[table.name]}
    return replace(table, columns=columns, partition_by="DAY")


def make_older(lab: Lab) -> None:
    """Take back what later releases added to the ledger, QuestDB and Parquet."""
    with closing(sqlite3.connect(lab.data / "ledger.sqlite")) as ledger, ledger:
        for column in ("returned", "returned_at", "requested_by"):
            ledger.execute(f"ALTER TABLE captures DROP COLUMN {column}")
        ledger.execute("UPDATE captures SET state = 'running' WHERE key = 'lab/crashed.pcap'")
        ledger.execute(
            "INSERT INTO captures (key, path, experiment, state) VALUES (?, ?, 'lab', 'waiting')",
            ("lab/new.pcap", str(lab.inbox / "lab" / "new.pcap")),
        )
    with lab.database.connect() as connection:
        for table in (PACKETS, FLOWS, CAPTURES):
            _without_new_columns(connection, table)
    for what, table in ("packets", PACKETS), ("flows", FLOWS):
        for file in (lab.data / "parquet" / what).rglob("*.parquet"):
            whole = pq.read_table(file, partitioning=None)
            pq.write_table(whole.drop_columns(list(NEW[table.name])), file)


def _without_new_columns(connection: psycopg.Connection, table: Table) -> None:
    experiments = ("kitchen", "lab") if table.views else ()
    for experiment in experiments:
        connection.execute(f"DROP VIEW {table.view(experiment)}")
    for column in NEW[table.name]:
        drop = sql.SQL("ALTER TABLE {} DROP COLUMN {}")
        connection.execute(drop.format(sql.Identifier(table.name), sql.Identifier(column)))
    connection.execute(f"SELECT wait_wal_table('{table.name}')")
    for experiment in experiments:
        assert ensure_view(connection, experiment, older(table))


def partitioned(lab: Lab) -> dict[str, str]:
    with lab.database.connect() as connection:
        query = "SELECT table_name, partitionBy FROM tables() WHERE table_type <> 'V'"
        return dict(connection.execute(query).fetchall())


def test_the_data_folder_of_an_older_release_goes_on_working(
    lab: Lab, upgraded: Terminal, netify: FakeNetify, tmp_path: Path
):
    columns = [name for name in PACKETS.columns if name not in NEW[PACKETS.name]]
    before = {name: lab.rows(name, columns) for name in ("kitchen", "lab")}
    assert len(before["kitchen"]) > 300
    assert set(partitioned(lab).values()) == {"DAY"}
    asked = len(netify.requests())
    assert asked > 10

    lines = [line.split() for line in upgraded("status").out.splitlines()[:-1]]
    assert {key: State(state) for state, _, key, *_ in lines} == STATES
    left = "lab/left.pcap: its file is gone from the inbox; its rows stay until you purge it"
    assert upgraded("verify", "--name", "kitchen") == Result(0, "0 differences\n", "")
    assert left in upgraded("verify", "--hash").out.splitlines()
    refreshed = upgraded("refresh", "--all")
    assert (refreshed.code, "0 loaded again" in refreshed.out) == (0, True), refreshed
    assert {name: lab.rows(name, columns) for name in before} == before

    assert upgraded("compact").code == 0
    assert partitioned(lab) == {"captured_packets": "MONTH", "flows": "MONTH", "captures": "YEAR"}
    assert {name: lab.rows(name, columns) for name in before} == before

    changed = [*dns("changed.example.com"), *dns("more.example.com", client_port=50_001)]
    write_pcap(lab.inbox / "kitchen" / "changes.pcap", timed(changed))
    assert upgraded("ingest", lab.inbox / "kitchen").out.splitlines() == [
        "2 of 3 captures are in already",
        "kitchen/changes.pcap: 4 packets, 4 rows in packets_kitchen",
    ]
    assert len(lab.rows("kitchen")) == len(before["kitchen"]) + 2
    assert upgraded("ingest", lab.inbox / "lab").code == 1, "damaged.pcap"
    assert lab.record("lab/crashed.pcap").state is State.DONE
    assert lab.record("lab/new.pcap").state is State.DONE
    assert len(lab.rows("lab", key="lab/crashed.pcap")) == 2
    assert left in upgraded("verify").out.splitlines()
    page = tmp_path / "report.html"
    assert upgraded("report", "kitchen", "--output", page).code == 0
    assert (
        Page(page.read_text(encoding="utf-8")).figures["Packets"] == f"{len(lab.rows('kitchen'))}"
    )
    assert len(netify.requests()) == asked, "the answers of before are used"
