"""The metadata of a capture: plain numbers, tables that fit on the page, links for any name."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mt_pipeline.backends.loads import Loaded, Stored
from mt_pipeline.backends.questdb.backend import QuestDb
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.defs import metadata
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets.endpoints import Endpoints
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.observer import AnswersFound, EndpointsFound, RowsLoaded
from mt_pipeline.rows.summary import CaptureSummary
from mt_pipeline_tests.enrichment.parts import endpoints_file
from mt_pipeline_tests.pipelines import PACKETS, Lab

INLINE = 1000
"""Dagster draws Markdown below this length on the page itself."""

FILES = CaptureFiles(Path("data"), "lab/a.pcap")

ODD = "it's <b>|`x`*[y](z)\n#1"


def of_names(*names: str) -> dict[str, object]:
    top = [(name, 1234) for name in names]
    times = {"first_us": 1_700_000_000_123_456, "last_us": 1_700_000_002_623_456}
    found = Endpoints(
        addresses=1, names=len(names), packets=3, bytes=10, skipped={}, top_names=top, **times
    )
    return of_found(found)


def of_found(found: Endpoints) -> dict[str, object]:
    done = EndpointsFound(files=FILES, inputs="0", seconds=0.5, found=found, out_of_order=0)
    return metadata.of_endpoints(done)


def of_table(key: str, *, has_view: bool = True) -> dict[str, object]:
    loaded = Loaded(rows=8, read=10, skipped={"no time": 2}, replaced=3, has_view=has_view)
    database = Database("127.0.0.1", 9000, 8812, "admin", "s3cret")
    backend = QuestDb(database, database, database.console, "user x", Path("lock"))
    stored = Stored(
        rows=8, bytes=480, first=None, last=None, flows=5, flow_packets=8, flow_bytes=480
    )
    done = RowsLoaded(
        files=FILES,
        inputs="0",
        seconds=2,
        loaded=loaded,
        stored=stored,
        summary=CaptureSummary(),
        locations=[backend.location(loaded, capture=key, experiment="lab")],
        experiment="lab",
        devices=0,
    )
    return metadata.of_rows(done, grafana=None)


def test_server_names_are_a_table():
    assert of_names("www.example.com", "b.example.com")["top_server_names"].value == (
        "| server name | bytes |\n|---|--:|\n"
        "| www.example.com | 1,234 |\n| b.example.com | 1,234 |\n"
    )


@pytest.mark.parametrize(
    "name", ["x" * 300, "*" * 300, "|" * 300, ODD], ids=["long", "stars", "bars", "odd"]
)
def test_a_table_of_any_names_is_drawn_on_the_page_and_stays_a_table(name: str):
    text = of_names(*[name] * 10)["top_server_names"].value

    assert len(text) < INLINE
    header, rule, *rows = text.splitlines()
    assert rows
    assert all(row.replace("\\|", "").count("|") == 3 for row in [header, rule, *rows])
    assert "<b>" not in text


def test_the_time_of_a_capture_is_told_to_the_part_of_a_second():
    result = of_names()

    assert (
        result["first_packet"].value,
        result["last_packet"].value,
        result["capture_seconds"],
    ) == (
        1_700_000_000,
        1_700_000_002,
        2.5,
    )


def test_a_capture_without_packets_has_no_time():
    nothing = Endpoints(
        addresses=0,
        names=0,
        packets=0,
        bytes=0,
        first_us=None,
        last_us=None,
        skipped={},
        top_names=[],
    )

    result = of_found(nothing)

    assert "first_packet" not in result
    assert result["capture_seconds"] == 0


def test_what_is_pending_stale_or_owed_is_told_of_all_and_of_each_provider(tmp_path: Path):
    files = CaptureFiles(tmp_path, "lab/a.pcap")
    for path in (files.endpoints("0"), files.enrichment("0")):
        path.parent.mkdir(parents=True)
    enrich(endpoints_file(files.endpoints("0"), []), files.enrichment("0"))
    of_one = Counts(endpoints=9, cached=1, asked=2, answered=4, pending=5, stale=1, owed=6)
    done = AnswersFound(
        files=files,
        inputs="0",
        seconds=0,
        counts=replace(of_one, by_provider={"netify": of_one}),
        changed=(),
        as_of=None,
        calls={},
    )
    result = metadata.of_answers(done)

    assert {name: result[name] for name in ("calls", "cache_hits", "pending", "stale", "owed")} == {
        **{"calls": 2, "cache_hits": 1, "pending": 5, "stale": 1, "owed": 6},
    }
    header, _, row = (
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in result["by_provider"].value.splitlines()
    )
    assert {name: cell for name, cell in zip(header, row, strict=True) if cell != "0"} == {
        **{
            "provider": "netify",
            "endpoints": "9",
            "answered": "4",
            "pending": "5",
            "from the cache": "1",
            "stale": "1",
            "calls": "2",
        },
    }


def test_skipped_packets_are_told_by_reason():
    result = of_table("lab/a.pcap")

    assert {
        name: result[name]
        for name in (
            "rows",
            "flows",
            "packets",
            "skipped",
            "skipped_no_time",
            "rows_gone",
            "rows_per_second",
            "table",
        )
    } == {
        "rows": 8,
        "flows": 5,
        "packets": 10,
        "skipped": 2,
        "skipped_no_time": 2,
        "rows_gone": 3,
        "rows_per_second": 4,
        "table": "packets_lab",
    }


def test_beyond_the_views_that_the_server_bears_the_user_is_told_where_the_rows_are():
    assert of_table("lab/a.pcap", has_view=False)["table"].startswith("captured_packets (")


@pytest.mark.parametrize("key", ["lab/a.pcap", 'lab/it\'s 100% & "so" ) ]#?.pcap', "lab/測定.pcap"])
def test_the_link_shows_the_rows_of_the_capture(lab: Lab, key: str):
    lab.put(key)
    assert lab.run(key).success
    text = of_table(key)["query"].value
    assert text.startswith("[")
    assert text.endswith(")")
    link = text[text.index("](") + 2 : -1]
    assert not set(link) & set(" ()[]<>'")
    [query] = parse_qs(urlsplit(link).query)["query"]

    with lab.database.connect() as connection:
        assert len(connection.execute(query).fetchall()) == PACKETS


def test_the_link_leads_to_where_browsers_reach_the_console(lab: Lab):
    lab.put("elsewhere/a.pcap")

    ran = lab.run("elsewhere/a.pcap", workspace=lab.workspace(questdb_console="https://db.example"))

    assert "](https://db.example/?query=SELECT" in str(
        ran.metadata("questdb_packets", "elsewhere/a.pcap")["query"]
    )


def test_the_password_is_in_no_link():
    assert "s3cret" not in str(of_table("lab/a.pcap"))
