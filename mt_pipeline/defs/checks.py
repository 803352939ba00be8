"""The checks of every capture. A run logs one evaluation for each check, over all its captures.

In Dagster a check has one state for each asset, not for each partition. So the UI shows only the
last evaluation of a run, and each costs as much as a materialisation.

For the underlying concept, see https://docs.dagster.io/guides/test/asset-checks
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import dagster as dg

from mt_pipeline.backends.loads import Loaded, Stored
from mt_pipeline.defs.markdown import escaped
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.pipeline.observer import DocumentsRead
from mt_pipeline.pipeline.verify import count_text, differences
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.rows.summary import CaptureSummary

_MOST_NAMED = 10
"""Captures that an evaluation names. The log of the run and `mt-pipeline status` name all."""

_MOST_DIFFERENCES = 20
_LONGEST_DIFFERENCE = 2000

MOST_UNNAMED = 0.1
"""Share of the public bytes without an application above which the check fails."""

SPECS = [
    dg.AssetCheckSpec(
        "packets_read",
        asset="tshark_json",
        description="tshark gave as many packets as editcap counts",
    ),
    dg.AssetCheckSpec(
        "answers_complete",
        asset="netify_enrichment",
        description="every provider has answered about each of its endpoints, "
        "be it 'not found', and no answer is stale",
    ),
    dg.AssetCheckSpec(
        "rows_stored",
        asset="questdb_packets",
        description="rows that can be read = packets read - packets skipped; "
        "else the capture fails",
    ),
    dg.AssetCheckSpec(
        "applications_known",
        asset="questdb_packets",
        description="at most a tenth of the bytes from or to public addresses have no application",
    ),
    dg.AssetCheckSpec(
        "flows_reconciled",
        asset="questdb_packets",
        description="packets and bytes of the flows = rows and bytes of the packets; "
        "else the capture fails",
    ),
]


class Evaluations:
    """Collects the evaluations of a run."""

    def __init__(self) -> None:
        """Start without evaluations."""
        self._by_check: dict[tuple[dg.AssetKey, str], list[dg.AssetCheckEvaluation]] = {}

    def add(self, *evaluations: dg.AssetCheckEvaluation) -> None:
        """Add evaluations of a capture."""
        for evaluation in evaluations:
            check = evaluation.asset_key, evaluation.check_name or ""
            self._by_check.setdefault(check, []).append(evaluation)

    def summed_up(self) -> Iterator[dg.AssetCheckEvaluation]:
        """Yield one evaluation for each check. It passes if all pass; its numbers are sums."""
        return map(_summed_up, self._by_check.values())


def packets_read(done: DocumentsRead) -> dg.AssetCheckEvaluation:
    """Compare the documents with the packets that editcap or capinfos counts.

    With a display filter, there may be fewer documents.
    """
    packets, counted, filtered = done.packets, done.counted.packets, done.display_filter
    passed = counted is None or (packets <= counted if filtered else packets == counted)
    total = "nobody could count them" if counted is None else f"the capture has {counted:,}"
    with_filter = f" with the filter {filtered!r}" if filtered else ""
    text = f"{packets:,} packets read{with_filter}, {total}"
    numbers = {"packets": packets, "counted": counted or 0}
    return _evaluation("tshark_json", "packets_read", done.key, passed, text, **numbers)


def answers_complete(key: str, counts: Counts) -> dg.AssetCheckEvaluation:
    """Count the answers that are missing from each provider, and those that are stale."""
    by_provider = counts.by_provider
    missing = sum(count.missing for count in by_provider.values())
    pending = sum(count.pending for count in by_provider.values())
    stale = sum(count.stale for count in by_provider.values())
    parts = [f"{c.missing:,} from {name}" for name, c in by_provider.items() if c.missing]
    text = f"{' and '.join(parts) or '0'} of {counts.endpoints:,} answers missing"
    if pending:
        text += f", {pending:,} of them pending"
    if stale:
        text += f", {stale:,} stale"
    if counts.stopped:
        text += f": {counts.stopped}"
    passed = not missing and not stale
    return _evaluation(
        "netify_enrichment",
        "answers_complete",
        key,
        passed,
        text,
        missing=missing,
        pending=pending,
        stale=stale,
    )


def rows_stored(key: str, loaded: Loaded) -> dg.AssetCheckEvaluation:
    """Compare the rows that can be read with the packets that were."""
    skipped = sum(loaded.skipped.values())
    text = f"{loaded.rows:,} rows = {loaded.read:,} packets - {skipped:,} skipped"
    return _evaluation(
        "questdb_packets",
        "rows_stored",
        key,
        loaded.rows == loaded.read - skipped,
        text,
        rows=loaded.rows,
        packets=loaded.read,
        skipped=skipped,
    )


def flows_reconciled(key: str, stored: Stored) -> dg.AssetCheckEvaluation:
    """Compare the packets and bytes of the flows with those of the rows."""
    packets = f"{stored.flow_packets:,} of {stored.rows:,} packets"
    text = (
        f"{stored.flows:,} flows have {packets} and {stored.flow_bytes:,} of {stored.bytes:,} bytes"
    )
    return _evaluation(
        "questdb_packets",
        "flows_reconciled",
        key,
        stored.agrees,
        text,
        flows=stored.flows,
        packets=stored.flow_packets,
        rows=stored.rows,
        bytes=stored.flow_bytes,
    )


def applications_known(key: str, summary: CaptureSummary) -> dg.AssetCheckEvaluation:
    """Compare the bytes without an application with all bytes from or to public addresses."""
    share = summary.unnamed_share
    text = f"{share:.1%} of {summary.public_bytes:,} public bytes have no application"
    if share > MOST_UNNAMED:
        text += "; name them by MT_NETIFY_API_KEY or MT_OFFLINE_APPS, then refresh"
    numbers = {"public_bytes": summary.public_bytes, "unnamed_bytes": summary.unnamed_bytes}
    return _evaluation(
        "questdb_packets", "applications_known", key, share <= MOST_UNNAMED, text, **numbers
    )


def _evaluation(
    asset: str, check: str, key: str, passed: bool, text: str, **numbers: int
) -> dg.AssetCheckEvaluation:
    severity = (
        dg.AssetCheckSeverity.ERROR
        if check in ("rows_stored", "flows_reconciled")
        else dg.AssetCheckSeverity.WARN
    )
    return dg.AssetCheckEvaluation(
        dg.AssetKey(asset),
        check,
        passed,
        metadata=dict(numbers),
        severity=severity,
        description=f"{key}: {text}",
    )


def _summed_up(evaluations: Sequence[dg.AssetCheckEvaluation]) -> dg.AssetCheckEvaluation:
    """Return one evaluation for those of several captures."""
    if len(evaluations) == 1:
        return evaluations[0]
    wrong = [evaluation for evaluation in evaluations if not evaluation.passed]
    numbers = Counter[str]()
    for evaluation in evaluations:
        numbers.update(
            {
                name: number.value
                for name, number in evaluation.metadata.items()
                if isinstance(number, dg.IntMetadataValue)
            }
        )
    if wrong:
        lines = [evaluation.description or "" for evaluation in wrong[:_MOST_NAMED]]
        if len(wrong) > _MOST_NAMED:
            lines.append(f"… and {len(wrong) - _MOST_NAMED:,} more")
        text = "\n".join([f"{len(wrong):,} of {len(evaluations):,} captures:", *lines])
    else:
        text = f"all {len(evaluations):,} captures, the last of them {evaluations[-1].description}"
    last = evaluations[-1]
    metadata = {"captures": len(evaluations), "failed": len(wrong), **numbers}
    return dg.AssetCheckEvaluation(
        last.asset_key,
        last.check_name,
        not wrong,
        metadata,
        severity=last.severity,
        description=text,
    )


@dg.asset_check(
    asset="questdb_packets",
    name="verified",
    description="every loaded capture has its file, its documents, and exactly its rows; "
    "of all captures",
)
def verified(workspace: dg.ResourceParam[Workspace]) -> dg.AssetCheckResult:
    """Verify all captures. It runs when a person launches it."""
    found = differences(workspace)
    lines = "\n".join(
        f"- {escaped(str(difference), longest=_LONGEST_DIFFERENCE)}"
        for difference in found[:_MOST_DIFFERENCES]
    )
    more = ""
    if len(found) > _MOST_DIFFERENCES:
        more = f"\n- and {len(found) - _MOST_DIFFERENCES:,} more: see `mt-pipeline verify`"
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description=count_text(found),
        metadata={"differences": len(found), "found": dg.MetadataValue.md(lines + more)},
    )
