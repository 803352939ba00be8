"""The metadata of each stage of a capture. Dagster plots plain numbers across captures.

Capture keys and names come from files and the network, so Markdown is escaped.
For the underlying concept, see https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from mt_pipeline.backends.backend import Location
from mt_pipeline.captures.experiments import Answers
from mt_pipeline.defs import charts
from mt_pipeline.defs.markdown import Metadata, escaped, inline_table, link
from mt_pipeline.enrichment.changes import Change
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.pipeline.observer import AnswersFound, DocumentsRead, EndpointsFound, RowsLoaded
from mt_pipeline.system import duckdb_pool
from mt_pipeline.web import addresses


def of_documents(done: DocumentsRead) -> Metadata:
    """Return the metadata of documents."""
    path, seconds = done.files.documents(done.inputs), done.seconds
    rate = round(done.packets / seconds) if seconds and not done.reused else 0
    duplicates = done.counted.duplicates
    return {
        "dagster/row_count": done.packets,
        "packets": done.packets,
        "capture_bytes": done.capture_bytes,
        "document_bytes": path.stat().st_size,
        "seconds": round(seconds, 3),
        "packets_per_second": rate,
        "reused": dg.MetadataValue.bool(done.reused),
        "cut": dg.MetadataValue.bool(done.counted.cut),
        "display_filter": done.display_filter or "none",
        **({"same_bytes_as": done.copy_of} if done.copy_of else {}),
        **({} if duplicates is None else {"duplicate_packets": duplicates}),
        "documents": dg.MetadataValue.path(path),
    }


def of_endpoints(done: EndpointsFound) -> Metadata:
    """Return the metadata of endpoints, and the time that the capture covers."""
    found = done.found
    return {
        "dagster/row_count": found.addresses + found.names,
        "public_addresses": found.addresses,
        "server_names": found.names,
        "bytes": found.bytes,
        **({} if found.first_us is None else {"first_packet": _time(found.first_us)}),
        **({} if found.last_us is None else {"last_packet": _time(found.last_us)}),
        "packets_out_of_order": done.out_of_order,
        "capture_seconds": ((found.last_us or 0) - (found.first_us or 0)) / 1e6,
        "top_server_names": _table(("server name", "bytes"), found.top_names),
        "seconds": round(done.seconds, 3),
        "endpoints": dg.MetadataValue.path(done.files.endpoints(done.inputs)),
    }


def of_answers(done: AnswersFound) -> Metadata:
    """Return the metadata of the answers for the endpoints of a capture."""
    counts, as_of, changed = done.counts, done.as_of, done.changed
    endpoints, path = done.files.endpoints(done.inputs), done.files.enrichment(done.inputs)
    return {
        "dagster/row_count": counts.endpoints,
        "providers": ", ".join(counts.by_provider) or "none",
        "cache_hits": counts.cached,
        "calls": counts.asked,
        "answered": counts.answered,
        "not_found": counts.not_found,
        "failed": counts.failed,
        "pending": counts.pending,
        "not_asked": counts.not_asked,
        "stale": counts.stale,
        "owed": counts.owed,
        **({"stopped": counts.stopped} if counts.stopped else {}),
        "by_provider": by_provider(counts.by_provider),
        **({} if as_of is None else {"as_of": as_of.isoformat()}),
        **done.calls,
        "changed": len(changed),
        **({"changes": _changes(changed)} if changed else {}),
        "top_applications": _table(("application", "bytes"), _top_applications(endpoints, path)),
        "seconds": round(done.seconds, 3),
        "enrichment": dg.MetadataValue.path(path),
    }


def of_experiment(experiment: str, answers: Answers, calls: Mapping[str, int]) -> Metadata:
    """Return the metadata of the answers for all captures of an experiment."""
    sums = answers.by_provider
    return {
        "experiment": experiment,
        "captures": answers.captures,
        "owed": answers.owed,
        "by_provider": by_provider({name: Counts.of(numbers) for name, numbers in sums.items()}),
        **calls,
    }


def of_rows(done: RowsLoaded, *, grafana: str | None) -> Metadata:
    """Return the metadata of the rows of a capture: numbers, where to find them, and charts.

    Args:
        done: the record of the load.
        grafana: address of Grafana, for a link; None if there is none.
    """
    loaded, seconds = done.loaded, done.seconds
    described: Metadata = {}
    for location in done.locations:
        described |= _of_location(location)
    skipped = {
        f"skipped_{re.sub(r'[^a-z0-9]+', '_', reason)}": count
        for reason, count in loaded.skipped.items()
    }
    return {
        **described,
        "dagster/row_count": loaded.rows,
        "rows": loaded.rows,
        "flows": done.stored.flows,
        "packets": loaded.read,
        "skipped": sum(loaded.skipped.values()),
        **skipped,
        "rows_gone": loaded.replaced,
        "devices_known": done.devices,
        "experiment": done.experiment,
        # Relative to the address at which the browser sees Dagster.
        "explorer": link("explore this capture", addresses.explorer(done.experiment, done.key)),
        **charts.of_summary(done.summary, grafana=grafana, experiment=done.experiment),
        "rows_per_second": round(loaded.rows / seconds) if seconds else 0,
        "seconds": round(seconds, 3),
    }


def _of_location(location: Location) -> Metadata:
    described: Metadata = {location.kind: location.name}
    if location.link:
        text = f"[open these rows in the QuestDB console]({location.link})"
        described["query"] = dg.MetadataValue.md(text)
        described["sign_in"] = location.sign_in
    return described


def _top_applications(endpoints: Path, answers: Path) -> list[tuple[str, int]]:
    """Sum the bytes of each application over its server names, or its addresses if it has none."""
    with duckdb_pool.connection(answers) as connection:
        return connection.execute(
            """SELECT a.app_tag, sum(e.bytes)::BIGINT AS bytes
            FROM read_parquet(?) e JOIN read_parquet(?) a USING (kind, endpoint)
            WHERE a.app_tag IS NOT NULL GROUP BY a.app_tag, kind
            QUALIFY row_number() OVER (PARTITION BY a.app_tag ORDER BY kind DESC) = 1
            ORDER BY bytes DESC LIMIT 10""",
            [str(endpoints), str(answers)],
        ).fetchall()


def by_provider(counts: Mapping[str, Counts]) -> dg.MetadataValue:
    """Draw a table of endpoints by the kind of their answer, with a row for each provider."""
    header = (
        "provider",
        "endpoints",
        "answered",
        "not found",
        "failed",
        "pending",
        "not asked",
        "from the cache",
        "stale",
        "calls",
    )
    lines = [" | ".join(header), "|".join(["---", *["--:"] * (len(header) - 1)])]
    for name, count in counts.items():
        numbers = (
            count.endpoints,
            count.answered,
            count.not_found,
            count.failed,
            count.pending,
            count.not_asked,
            count.cached,
            count.stale,
            count.asked,
        )
        lines.append(" | ".join([escaped(name), *(f"{number:,}" for number in numbers)]))
    return dg.MetadataValue.md("".join(f"| {line} |\n" for line in lines))


def _changes(changed: Sequence[Change]) -> dg.MetadataValue:
    """Draw a table of the changes, as many as are shown inline."""
    lines = (
        [
            escaped(change.endpoint),
            change.what,
            escaped(change.before or "-"),
            escaped(change.after or "-"),
        ]
        for change in changed
    )
    return inline_table({"endpoint": "---", "of its": "---", "was": "---", "is": "---"}, lines)


def _time(microseconds: int) -> dg.MetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(microseconds // 1_000_000, UTC))


def _table(header: tuple[str, str], rows: Iterable[tuple[str, int]]) -> dg.MetadataValue:
    """Draw a table of names and numbers."""
    return inline_table(
        {header[0]: "---", header[1]: "--:"},
        ([escaped(name), f"{number:,}"] for name, number in rows),
    )
