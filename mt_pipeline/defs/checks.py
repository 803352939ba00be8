"""What is checked of every capture. A check has one state per asset, so each evaluation names its capture and counts.

For the underlying concept, see https://docs.dagster.io/guides/test/asset-checks
"""

import dagster as dg

from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.questdb.flow_loader import Summary
from mt_pipeline.questdb.loader import Loaded

SPECS = [
    dg.AssetCheckSpec("packets_read", asset="tshark_json", description="tshark gave as many packets as capinfos counts"),
    dg.AssetCheckSpec(
        "answers_complete",
        asset="netify_enrichment",
        description="every provider has answered whatever it was to be asked, be it 'not found'",
    ),
    dg.AssetCheckSpec(
        "rows_stored", asset="questdb_packets", description="rows that can be read = packets read - packets skipped; else the capture fails"
    ),
    dg.AssetCheckSpec(
        "flows_reconciled",
        asset="questdb_packets",
        description="packets and bytes of the flows = rows and bytes of the packets; else the capture fails",
    ),
]


def packets_read(key: str, *, packets: int, counted: int | None, display_filter: str) -> dg.AssetCheckEvaluation:
    """Compare the packets of the documents with those that capinfos counts; a display filter may only take some away."""
    expected = counted is None or (packets <= counted if display_filter else packets == counted)
    said = "capinfos is not there or cannot say" if counted is None else f"capinfos counts {counted:,}"
    with_filter = f" with the filter {display_filter!r}" if display_filter else ""
    return _evaluation(
        "tshark_json", "packets_read", key, expected, f"{packets:,} packets read{with_filter}, {said}", packets=packets, counted=counted or 0
    )


def answers_complete(key: str, counts: Counts) -> dg.AssetCheckEvaluation:
    """Say how many answers each provider still owes; with no provider, nobody is asked and nothing is missing."""
    why = f": {counts.stopped}" if counts.stopped else ""
    each = [f"{of_one.missing:,} from {name}" for name, of_one in counts.by_provider.items() if of_one.missing]
    said = f"{' and '.join(each) or '0'} of {counts.endpoints:,} answers missing{why}"
    return _evaluation("netify_enrichment", "answers_complete", key, not each, said, missing=sum(c.missing for c in counts.by_provider.values()))


def rows_stored(key: str, loaded: Loaded) -> dg.AssetCheckEvaluation:
    """Compare the rows that can be read with the packets that were."""
    skipped = sum(loaded.skipped.values())
    said = f"{loaded.rows:,} rows = {loaded.read:,} packets - {skipped:,} skipped"
    return _evaluation(
        "questdb_packets", "rows_stored", key, loaded.rows == loaded.read - skipped, said, rows=loaded.rows, packets=loaded.read, skipped=skipped
    )


def flows_reconciled(key: str, stored: Summary) -> dg.AssetCheckEvaluation:
    """Compare the packets and bytes of the flows with those of the rows."""
    said = f"{stored.flows:,} flows have {stored.flow_packets:,} of {stored.rows:,} packets and {stored.flow_bytes:,} of {stored.bytes:,} bytes"
    return _evaluation(
        "questdb_packets",
        "flows_reconciled",
        key,
        stored.agrees,
        said,
        flows=stored.flows,
        packets=stored.flow_packets,
        rows=stored.rows,
        bytes=stored.flow_bytes,
    )


def _evaluation(asset: str, check: str, key: str, passed: bool, said: str, **numbers: int) -> dg.AssetCheckEvaluation:
    severity = dg.AssetCheckSeverity.ERROR if check in ("rows_stored", "flows_reconciled") else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckEvaluation(dg.AssetKey(asset), check, passed, metadata=dict(numbers), severity=severity, description=f"{key}: {said}")
