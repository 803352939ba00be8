"""What has expired goes, and all that does not need it works as before."""

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.backends.questdb.server import Server
from mt_pipeline.definitions import build_defs
from mt_pipeline.pipeline.verify import differences, load_again
from mt_pipeline_tests.cli.test_ingest import Terminal
from mt_pipeline_tests.pipelines import PACKETS, Lab, files_below, open_lab, rows

KEY = "expired/a.pcap"


def expired(lab: Lab, **settings: object) -> dict[str, dict[str, object]]:
    """Let the night come; returns what each part of it said."""
    job = build_defs(workspace=lab.workspace(**settings)).resolve_job_def("expire_old")
    events = [
        event
        for event in job.execute_in_process(instance=lab.instance).all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT
    ]
    return {
        event.step_key: {
            name: value.value for name, value in event.step_output_data.metadata.items()
        }
        for event in events
    }


def flows(lab: Lab, experiment: str) -> list[tuple]:
    with lab.database.connect() as connection:
        return connection.execute(
            f"SELECT capture, sum(packets_out + packets_in) FROM flows_{experiment} "
            "ORDER BY capture"
        ).fetchall()


@pytest.fixture
def own(questdb: Server, tmp_path: Path) -> Iterator[Lab]:
    """A data folder of its own: everything in it expires."""
    with open_lab(tmp_path / "data", questdb) as opened:
        yield opened


def test_documents_go_when_they_have_expired_and_not_before(own: Lab):
    own.put(KEY)
    assert own.run(KEY).success
    documents = files_below(own.data / "tshark_json" / "expired")
    assert len(documents) == 1

    assert expired(own)["expire_documents"] == {"captures": 0, "freed_bytes": 0}
    assert expired(own, keep_documents_days=1)["expire_documents"]["captures"] == 0
    assert files_below(own.data / "tshark_json" / "expired") == documents
    assert expired(own, keep_documents_days=0)["expire_documents"]["captures"] == 1

    assert files_below(own.data / "tshark_json" / "expired") == []
    assert [
        found for found in differences(own.workspace(keep_documents_days=0)) if found.key == KEY
    ] == []
    assert [found.key for found in differences(own.workspace()) if found.key == KEY] == [KEY]
    assert own.run(KEY, stages=("endpoints", "netify_enrichment", "questdb_packets")).success
    assert len(own.rows("expired")) == PACKETS
    assert own.run(KEY).success
    assert files_below(own.data / "tshark_json" / "expired") == documents


def test_packets_go_when_they_have_expired_flows_stay_and_all_others_know_it(
    own: Lab, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
):
    both = {"backends": ("questdb", "parquet")}
    for name, value in {"MT_DATA_DIR": str(own.data), "MT_BACKENDS": "questdb,parquet"}.items():
        monkeypatch.setenv(name, value)
    paths = [own.put(f"let_go/{name}.pcap") for name in "ab"]
    old, young = (f"let_go/{path.name}" for path in paths)
    assert terminal("ingest", paths[0]).code == 0
    typed = own.data / "endpoints" / "let_go"
    next(typed.iterdir()).joinpath("0-of-an-older-release.packets.parquet").touch()
    counted = flows(own, "let_go")
    seen, ended = set(), threading.Event()

    def read() -> None:
        while not ended.wait(0.01):
            seen.add(len(own.rows("let_go")))

    reader = threading.Thread(target=read)
    reader.start()
    assert expired(own, keep_packets_days=1, **both)["expire_packets"] == {
        "captures": 0,
        "rows": 0,
        "freed_bytes": 0,
    }
    result = expired(own, keep_packets_days=0, **both)["expire_packets"]
    assert expired(own, keep_packets_days=0, **both)["expire_packets"]["captures"] == 0
    ended.set()
    reader.join()

    assert (result["captures"], result["rows"]) == (1, PACKETS)
    assert result["freed_bytes"] > 0
    assert seen == {PACKETS, 0} or seen == {PACKETS}
    assert own.rows("let_go") == []
    assert flows(own, "let_go") == counted == [(old, PACKETS)]
    assert files_below(typed) == []
    assert files_below(own.data / "parquet" / "packets") == []
    assert len(files_below(own.data / "parquet" / "flows")) == 1
    assert [found for found in differences(own.workspace(**both)) if found.key == old] == []
    assert "  2 packets, 2 rows, expired: only flows are left" in terminal("status").out
    assert (
        terminal("refresh", "let_go").out
        == "1 captures: 0 loaded again, 0 unchanged, 1 left as their packets have expired\n"
    )
    assert own.workspace().ledger.due_for_refresh() == []
    assert terminal("purge", "--capture", old, "--dry-run").out.startswith(f"{old}: 0 rows, ")
    assert terminal("report", "let_go").err == (
        "mt-pipeline: the packets of let_go have expired, and a report is made of packets: "
        "`mt-pipeline ingest` loads captures again; "
        "its flows are in flows_let_go\n"
    )

    assert terminal("ingest", paths[1]).code == 0
    assert terminal("report", "let_go", "--output", own.data / "page.html").code == 0
    assert (
        "its packets have expired, only its flows are kept" in (own.data / "page.html").read_text()
    )
    assert terminal("ingest", own.inbox).out == "2 of 2 captures are in already\n"
    assert terminal("ingest", paths[0]).code == 0
    assert rows(own.database, "let_go", ("capture",)) == [(old,)] * PACKETS + [(young,)] * PACKETS
    assert flows(own, "let_go") == [(old, PACKETS), (young, PACKETS)]
    assert [
        found for found in differences(own.workspace(**both)) if found.key in (old, young)
    ] == []
    assert own.record(old).packets_expired_at is None
    assert len(files_below(typed)) == 2 * 7

    own.workspace().ledger.expire_packets(young)  # a kill came before its rows went
    left = [found for found in differences(own.workspace(**both)) if found.key == young]
    assert (
        "QuestDB has 2 rows of it: "
        "`mt-pipeline verify --repair` has the next `expire_old` take them out" in str(left[0])
    )
    load_again(own.workspace(**both), left)
    assert own.record(young).packets_expired_at is None
    assert [found for found in differences(own.workspace(**both)) if found.key == young] == []
