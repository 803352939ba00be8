"""The table `captures` of QuestDB has the verdict on each load, as the ledger does."""

import json
import logging
from datetime import UTC, datetime

import psycopg
import pytest

from mt_pipeline.captures.records import State
from mt_pipeline.pipeline import captures_table
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline.schema.captures import CAPTURE_COLUMNS
from mt_pipeline.schema.tables import CAPTURES
from mt_pipeline_tests.building.everything import ODD_TIMES, odd_times
from mt_pipeline_tests.building.files import START_NS, cut, timed, write_pcap
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.pipelines import PACKETS, Lab

SECONDS = ("seconds_tshark", "seconds_endpoints", "seconds_enrichment", "seconds_load")


def verdicts_on(lab: Lab, key: str) -> list[dict[str, object]]:
    """Read all rows of a capture, in the order of time."""
    with lab.database.connect() as connection:
        connection.execute(f"SELECT wait_wal_table('{CAPTURES.name}')")
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(
            "SELECT * FROM captures WHERE capture = %s ORDER BY ts", (key,)
        ).fetchall()


def time_of(nanoseconds: int) -> datetime:
    """Say a time as QuestDB says it."""
    return datetime.fromtimestamp(nanoseconds // 1_000 / 1e6, UTC).replace(tzinfo=None)


def test_a_load_is_a_row_with_all_that_the_ledger_knows_of_it(lab: Lab):
    path = lab.put("verdicts/a.pcap")
    ran = lab.run("verdicts/a.pcap", display_filter="dns")
    record = lab.record("verdicts/a.pcap")

    [row] = verdicts_on(lab, "verdicts/a.pcap")

    assert list(row) == [column.name for column in CAPTURE_COLUMNS]
    lengths = [length for (length,) in lab.rows("verdicts", ("frame_len",))]
    times = [time for (time,) in lab.rows("verdicts", ("ts",))]
    assert {name: value for name, value in row.items() if name not in SECONDS} == {
        **{"capture": "verdicts/a.pcap", "experiment": "verdicts", "state": "done"},
        "ts": datetime.fromtimestamp(record.changed_at, UTC).replace(tzinfo=None),
        **{
            "error": None,
            "packets": PACKETS,
            "rows": PACKETS,
            "flows": 1,
            "bytes": sum(lengths),
            "skipped": 0,
            "skipped_reasons": "{}",
            "cut": False,
        },
        **{
            "cut": False,
            "first_packet": times[0],
            "last_packet": times[-1],
            "path": str(path),
            "size": path.stat().st_size,
            "sha256": record.sha256,
        },
        **{
            "documents": record.documents,
            "filter": "dns",
            "tshark_version": lab.workspace().tshark.version,
        },
        **{"code_version": CODE_VERSIONS["questdb_packets"], "run": ran.run_id},
        **{
            "endpoints": 1,
            "cache_hits": 0,
            "calls": 0,
            "pending": 0,
            "owed": 0,
            "calls_today": None,
            "budget_today": None,
            "label": None,
        },
    }
    assert times[0] == time_of(START_NS)
    stages = ("tshark_json", "endpoints", "netify_enrichment", "questdb_packets")
    assert [row[name] for name in SECONDS] == [
        ran.metadata(stage, "verdicts/a.pcap")["seconds"] for stage in stages
    ]


def test_each_load_is_a_row_and_the_latest_can_be_asked_for(lab: Lab):
    path = lab.put("verdicts again/a.pcap")
    lab.run("verdicts again/a.pcap")
    write_pcap(path, timed(dns() * 3))
    lab.run("verdicts again/a.pcap")

    assert [row["rows"] for row in verdicts_on(lab, "verdicts again/a.pcap")] == [2, 6]
    with lab.database.connect() as connection:
        latest = (
            "SELECT capture, rows FROM (SELECT * FROM captures LATEST ON ts PARTITION BY capture) "
            "WHERE experiment = 'verdicts_again'"
        )
        assert connection.execute(latest).fetchall() == [("verdicts again/a.pcap", 6)]


def test_a_failed_load_says_why_and_has_no_numbers_of_the_one_before(lab: Lab):
    path = lab.put("verdicts failed/a.pcap")
    lab.run("verdicts failed/a.pcap")
    path.write_bytes(GARBAGE)

    failure = lab.run("verdicts failed/a.pcap").failure

    done, failed = verdicts_on(lab, "verdicts failed/a.pcap")
    assert (done["state"], failed["state"], failed["error"], failed["size"]) == (
        "done",
        "failed",
        failure,
        len(GARBAGE),
    )
    known = {
        "ts",
        "capture",
        "experiment",
        "state",
        "error",
        "path",
        "size",
        "filter",
        "code_version",
        "run",
        "cut",
    }
    assert {name for name, value in failed.items() if value is not None} == known


def test_what_was_skipped_and_that_the_capture_is_cut_is_told(lab: Lab):
    path = odd_times(lab.inbox / "verdicts odd.pcapng", ODD_TIMES["before 1970"])
    torn = cut(lab.put("verdicts odd/torn.pcap"), 20)
    keys = [path.name, f"verdicts odd/{torn.name}"]
    for key in keys:
        assert lab.run(key).success

    [odd], [half] = (verdicts_on(lab, key) for key in keys)

    assert (odd["packets"], odd["rows"], odd["skipped"], odd["cut"]) == (2, 1, 1, False)
    assert json.loads(odd["skipped_reasons"]) == {"time before 1970": 1}
    assert odd["first_packet"] == odd["last_packet"] == time_of(START_NS)
    assert (half["rows"], half["cut"]) == (1, True)


def test_a_capture_without_packets_has_no_time(lab: Lab):
    write_pcap(lab.inbox / "verdicts empty.pcap", [])
    lab.run("verdicts empty.pcap")

    [row] = verdicts_on(lab, "verdicts empty.pcap")

    assert [row[name] for name in ("packets", "rows", "flows", "bytes", "skipped")] == [0] * 5
    assert (row["first_packet"], row["last_packet"]) == (None, None)


@pytest.mark.parametrize(
    "key",
    [
        'verdicts odd/it\'s "two" words.pcap',
        "verdicts odd/naïve 測定.pcap",
        "verdicts odd/100%,b;c[1]{2}\\z $1 %s.pcap",
    ],
)
def test_any_capture_key_is_told_as_it_is(lab: Lab, key: str):
    lab.put(key)
    lab.run(key)

    [row] = verdicts_on(lab, key)

    assert (row["state"], row["path"]) == ("done", str(lab.inbox / key))


def test_stages_before_the_last_are_no_row(lab: Lab):
    lab.put("verdicts stages/a.pcap")
    lab.run("verdicts stages/a.pcap")
    lab.run("verdicts stages/a.pcap", stages=["tshark_json", "endpoints"])
    lab.run("verdicts stages/a.pcap", stages=["questdb_packets"])

    whole, last = verdicts_on(lab, "verdicts stages/a.pcap")

    assert (whole["state"], last["state"], last["sha256"]) == ("done", "done", whole["sha256"])
    assert [last[name] is None for name in ("tshark_version", *SECONDS)] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_a_questdb_that_is_not_there_is_a_warning_and_the_ledger_stays_the_truth(
    lab: Lab, caplog: pytest.LogCaptureFixture
):
    lab.put("verdicts alone/a.pcap")
    lab.run("verdicts alone/a.pcap")
    before = lab.record("verdicts alone/a.pcap")

    with caplog.at_level(logging.WARNING):
        captures_table.copy(lab.workspace(questdb_pg_port=1), "verdicts alone/a.pcap")

    assert (
        "verdicts alone/a.pcap: not noted in QuestDB's table captures: "
        "QuestDB does not answer at 127.0.0.1:1" in caplog.text
    )
    assert lab.record("verdicts alone/a.pcap") == before
    assert before.state is State.DONE
    assert len(verdicts_on(lab, "verdicts alone/a.pcap")) == 1


def test_a_key_without_a_record_is_no_row(lab: Lab):
    captures_table.copy(lab.workspace(), "made up/by hand.pcap")

    assert verdicts_on(lab, "made up/by hand.pcap") == []
