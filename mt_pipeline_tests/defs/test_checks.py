"""What each check says of a capture, and when it fails."""

from dataclasses import replace

import dagster as dg
import pytest

from mt_pipeline.backends.loads import Loaded, Stored
from mt_pipeline.defs import checks
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline_tests.observers import documents_read


def numbers(evaluation: dg.AssetCheckEvaluation) -> dict[str, object]:
    return {name: value.value for name, value in evaluation.metadata.items()}


@pytest.mark.parametrize(
    ("packets", "counted", "display_filter", "passed", "text"),
    [
        (1234, 1234, "", True, "lab/a.pcap: 1,234 packets read, the capture has 1,234"),
        (1233, 1234, "", False, "lab/a.pcap: 1,233 packets read, the capture has 1,234"),
        (1235, 1234, "", False, "lab/a.pcap: 1,235 packets read, the capture has 1,234"),
        (
            3,
            1234,
            "tcp",
            True,
            "lab/a.pcap: 3 packets read with the filter 'tcp', the capture has 1,234",
        ),
        (
            1235,
            1234,
            "tcp",
            False,
            "lab/a.pcap: 1,235 packets read with the filter 'tcp', the capture has 1,234",
        ),
        (7, None, "", True, "lab/a.pcap: 7 packets read, nobody could count them"),
        (0, 0, "", True, "lab/a.pcap: 0 packets read, the capture has 0"),
    ],
)
def test_packets_read(
    packets: int, counted: int | None, display_filter: str, passed: bool, text: str
):
    evaluation = checks.packets_read(
        documents_read(
            "lab/a.pcap", packets=packets, counted=counted, display_filter=display_filter
        )
    )

    assert (evaluation.passed, evaluation.description, evaluation.severity) == (
        passed,
        text,
        dg.AssetCheckSeverity.WARN,
    )
    assert numbers(evaluation)["packets"] == packets


@pytest.mark.parametrize(
    ("counts", "passed", "text"),
    [
        (
            Counts(endpoints=9, cached=4, asked=5, answered=6, not_found=3),
            True,
            "lab/a.pcap: 0 of 9 answers missing",
        ),
        (
            Counts(endpoints=9, asked=9, answered=7, failed=2),
            False,
            "lab/a.pcap: 2 from netify of 9 answers missing",
        ),
        (
            Counts(
                endpoints=9,
                asked=3,
                answered=2,
                not_asked=7,
                stopped="MT_NETIFY_API_KEY is refused",
            ),
            False,
            "lab/a.pcap: 7 from netify of 9 answers missing: MT_NETIFY_API_KEY is refused",
        ),
        (Counts(endpoints=9, not_asked=9), True, "lab/a.pcap: 0 of 9 answers missing"),
        (
            Counts(
                endpoints=9,
                asked=3,
                answered=5,
                pending=4,
                stale=2,
                owed=6,
                stopped="the budget of the day is spent",
            ),
            False,
            "lab/a.pcap: 4 from netify of 9 answers missing, 4 of them pending, 2 stale: "
            "the budget of the day is spent",
        ),
        (
            Counts(endpoints=9, cached=8, answered=9, stale=1, owed=1),
            False,
            "lab/a.pcap: 0 of 9 answers missing, 1 stale",
        ),
    ],
    ids=["all", "failed", "stopped", "nobody asked", "budget spent", "stale"],
)
def test_answers_complete(counts: Counts, passed: bool, text: str):
    offline = Counts(endpoints=9, answered=9)
    evaluation = checks.answers_complete(
        "lab/a.pcap", replace(counts, by_provider={"netify": counts, "offline": offline})
    )

    assert (evaluation.passed, evaluation.description, evaluation.severity) == (
        passed,
        text,
        dg.AssetCheckSeverity.WARN,
    )


@pytest.mark.parametrize(
    ("rows", "read", "skipped", "passed"),
    [
        (10, 10, {}, True),
        (7, 10, {"no time": 2, "far": 1}, True),
        (9, 10, {}, False),
        (11, 10, {}, False),
    ],
)
def test_rows_stored(rows: int, read: int, skipped: dict[str, int], passed: bool):
    evaluation = checks.rows_stored(
        "lab/a.pcap", Loaded(rows=rows, read=read, skipped=skipped, replaced=0, has_view=True)
    )

    assert (evaluation.passed, evaluation.severity) == (passed, dg.AssetCheckSeverity.ERROR)
    assert (
        evaluation.description
        == f"lab/a.pcap: {rows} rows = {read} packets - {sum(skipped.values())} skipped"
    )
    assert numbers(evaluation) == {"rows": rows, "packets": read, "skipped": sum(skipped.values())}


@pytest.mark.parametrize(
    ("packets", "length", "passed"),
    [(10, 640, True), (9, 640, False), (10, 639, False), (11, 700, False)],
)
def test_flows_reconciled(packets: int, length: int, passed: bool):
    stored = Stored(
        rows=10, bytes=640, first=None, last=None, flows=4, flow_packets=packets, flow_bytes=length
    )
    evaluation = checks.flows_reconciled("lab/a.pcap", stored)

    assert (evaluation.passed, evaluation.severity) == (passed, dg.AssetCheckSeverity.ERROR)
    assert (
        evaluation.description
        == f"lab/a.pcap: 4 flows have {packets} of 10 packets and {length} of 640 bytes"
    )
    assert numbers(evaluation) == {"flows": 4, "packets": packets, "rows": 10, "bytes": length}


def test_every_check_belongs_to_an_asset_and_says_what_it_is():
    assert {(spec.name, spec.asset_key.to_user_string()) for spec in checks.SPECS} == {
        ("packets_read", "tshark_json"),
        ("answers_complete", "netify_enrichment"),
        ("rows_stored", "questdb_packets"),
        ("flows_reconciled", "questdb_packets"),
        ("applications_known", "questdb_packets"),
    }
    assert all(spec.description for spec in checks.SPECS)
