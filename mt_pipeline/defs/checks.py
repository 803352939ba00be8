"""What is checked of every capture: each evaluation names its capture and counts. Those of a run are told as one, see `checked.py`.

For the underlying concept, see https://docs.dagster.io/guides/test/asset-checks
"""

import dagster as dg

from mt_pipeline.backends.questdb.flow_loader import Summary
from mt_pipeline.backends.questdb.loader import Loaded
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.rows.summary import Story

MOST_UNNAMED = 0.1
"""Share of the public bytes without an application above which a person should know."""

SPECS = [
    dg.AssetCheckSpec("packets_read", asset="tshark_json", description="tshark gave as many packets as editcap counts"),
    dg.AssetCheckSpec(
        "answers_complete",
        asset="netify_enrichment",
        description="every provider has answered whatever it was to be asked, be it 'not found', and no answer is stale",
    ),
    dg.AssetCheckSpec(
        "rows_stored", asset="questdb_packets", description="rows that can be read = packets read - packets skipped; else the capture fails"
    ),
    dg.AssetCheckSpec(
        "applications_known", asset="questdb_packets", description="at most a tenth of the bytes from or to public addresses have no application"
    ),
    dg.AssetCheckSpec(
        "flows_reconciled",
        asset="questdb_packets",
        description="packets and bytes of the flows = rows and bytes of the packets; else the capture fails",
    ),
]


def packets_read(key: str, *, packets: int, counted: int | None, display_filter: str) -> dg.AssetCheckEvaluation:
    """Compare the packets of the documents with those that editcap or capinfos counts; a display filter may only take some away."""
    expected = counted is None or (packets <= counted if display_filter else packets == counted)
    said = "nobody could count them" if counted is None else f"the capture has {counted:,}"
    with_filter = f" with the filter {display_filter!r}" if display_filter else ""
    return _evaluation(
        "tshark_json", "packets_read", key, expected, f"{packets:,} packets read{with_filter}, {said}", packets=packets, counted=counted or 0
    )


def answers_complete(key: str, counts: Counts) -> dg.AssetCheckEvaluation:
    """Say how many answers each provider still owes, and how many are stale; with no provider, nobody is asked and nothing is missing."""
    of_each = counts.by_provider.values()
    missing, pending, stale = sum(c.missing for c in of_each), sum(c.pending for c in of_each), sum(c.stale for c in of_each)
    each = [f"{of_one.missing:,} from {name}" for name, of_one in counts.by_provider.items() if of_one.missing]
    also = [f", {number:,} {what}" for number, what in ((pending, "of them pending"), (stale, "stale")) if number]
    why = f": {counts.stopped}" if counts.stopped else ""
    said = f"{' and '.join(each) or '0'} of {counts.endpoints:,} answers missing{''.join(also)}{why}"
    passed = not missing and not stale
    return _evaluation("netify_enrichment", "answers_complete", key, passed, said, missing=missing, pending=pending, stale=stale)


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


def applications_known(key: str, story: Story) -> dg.AssetCheckEvaluation:
    """Say which share of the bytes from or to public addresses has no application."""
    share = story.unnamed_share
    said = f"{share:.1%} of {story.public_bytes:,} public bytes have no application"
    cure = "; name them by MT_NETIFY_API_KEY or MT_OFFLINE_APPS, then refresh" if share > MOST_UNNAMED else ""
    numbers = {"public_bytes": story.public_bytes, "unnamed_bytes": story.unnamed_bytes}
    return _evaluation("questdb_packets", "applications_known", key, share <= MOST_UNNAMED, said + cure, **numbers)


def _evaluation(asset: str, check: str, key: str, passed: bool, said: str, **numbers: int) -> dg.AssetCheckEvaluation:
    severity = dg.AssetCheckSeverity.ERROR if check in ("rows_stored", "flows_reconciled") else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckEvaluation(dg.AssetKey(asset), check, passed, metadata=dict(numbers), severity=severity, description=f"{key}: {said}")
