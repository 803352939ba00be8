"""What a person wants to know of a capture, stage by stage, as Dagster's metadata: plain numbers are plotted across captures.

Markdown below 1,000 characters is drawn on the page itself; keys are the user's file names, so they are escaped.
For the underlying concept, see https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import dagster as dg

from mt_pipeline.backends.questdb.ddl import TABLE, view_name
from mt_pipeline.backends.questdb.flow_loader import Summary
from mt_pipeline.backends.questdb.loader import Loaded
from mt_pipeline.captures.records import Record
from mt_pipeline.enrichment.changes import Change
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.packets.endpoints import Endpoints
from mt_pipeline.system import duckdb_pool
from mt_pipeline.system.terminal import visible

Metadata = dict[str, dg.MetadataValue | int | float | str]

INLINE = 1000
"""Characters of Markdown from which on the UI hides it behind a click."""


def of_documents(
    *,
    path: Path,
    packets: int,
    capture_bytes: int,
    seconds: float,
    reused: bool,
    cut: bool,
    display_filter: str,
    copy_of: str | None,
    duplicate_packets: int | None,
) -> Metadata:
    """Describe the documents of a capture."""
    return {
        "dagster/row_count": packets,
        "packets": packets,
        "capture_bytes": capture_bytes,
        "document_bytes": path.stat().st_size,
        "seconds": round(seconds, 3),
        "packets_per_second": round(packets / seconds) if seconds and not reused else 0,
        "reused": dg.MetadataValue.bool(reused),
        "cut": dg.MetadataValue.bool(cut),
        "display_filter": display_filter or "none",
        **({"same_bytes_as": copy_of} if copy_of else {}),
        **({} if duplicate_packets is None else {"duplicate_packets": duplicate_packets}),
        "documents": dg.MetadataValue.path(path),
    }


def of_endpoints(found: Endpoints, *, out_of_order: int, path: Path, seconds: float) -> Metadata:
    """Describe the endpoints of a capture, and its time."""
    return {
        "dagster/row_count": found.addresses + found.names,
        "public_addresses": found.addresses,
        "server_names": found.names,
        "bytes": found.bytes,
        **({} if found.first_us is None else {"first_packet": _time(found.first_us)}),
        **({} if found.last_us is None else {"last_packet": _time(found.last_us)}),
        "packets_out_of_order": out_of_order,
        "capture_seconds": ((found.last_us or 0) - (found.first_us or 0)) / 1e6,
        "top_server_names": _table(("server name", "bytes"), found.top_names),
        "seconds": round(seconds, 3),
        "endpoints": dg.MetadataValue.path(path),
    }


def of_enrichment(
    counts: Counts, *, endpoints: Path, path: Path, changed: Sequence[Change], as_of: datetime | None, calls: Mapping[str, int], seconds: float
) -> Metadata:
    """Describe the answers for the endpoints of a capture.

    Args:
        counts: what became of the endpoints.
        endpoints: their file.
        path: the file of answers.
        changed: of what something else is said than the last time.
        as_of: the moment whose answers they are, if it is not the present.
        calls: to paid providers today, and how many the user allows.
        seconds: how long it took.
    """
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
        **calls,
        "changed": len(changed),
        **({"changes": _changes(changed)} if changed else {}),
        "top_applications": _table(("application", "bytes"), _top_applications(endpoints, path)),
        "seconds": round(seconds, 3),
        "enrichment": dg.MetadataValue.path(path),
    }


def of_experiment(experiment: str, captures: Sequence[Record], calls: Mapping[str, int]) -> Metadata:
    """Describe the answers for all captures of an experiment: sums over its captures, so an endpoint of two counts twice."""
    sums: dict[str, Counter[str]] = {}
    for record in captures:
        for name, numbers in record.answers_by.items():
            sums.setdefault(name, Counter()).update(numbers)
    return {
        "experiment": experiment,
        "captures": len(captures),
        "owed": sum(record.owed for record in captures),
        "by_provider": by_provider({name: Counts.of(numbers) for name, numbers in sums.items()}),
        **calls,
    }


def of_rows(loaded: Loaded, stored: Summary, *, experiment: str, devices: int) -> Metadata:
    """Describe the rows of a capture."""
    return {
        "dagster/row_count": loaded.rows,
        "rows": loaded.rows,
        "flows": stored.flows,
        "packets": loaded.read,
        "skipped": sum(loaded.skipped.values()),
        **{f"skipped_{re.sub(r'[^a-z0-9]+', '_', reason)}": count for reason, count in loaded.skipped.items()},
        "rows_gone": loaded.gone,
        "devices_known": devices,
        "experiment": experiment,
    }


def of_view(loaded: Loaded, *, key: str, experiment: str, console: str, sign_in: str) -> Metadata:
    """Name the view with the rows of a capture in QuestDB, with a link to them."""
    quoted = key.replace("'", "''")
    sql = f"SELECT * FROM {view_name(experiment) if loaded.has_view else TABLE} WHERE capture = '{quoted}' ORDER BY ts LIMIT 1000"
    link = f"{console}/?{urlencode({'query': sql, 'executeQuery': 'true'})}"
    return {
        "table": view_name(experiment) if loaded.has_view else f"{TABLE} (the server bears no more views: query it by experiment)",
        "query": dg.MetadataValue.md(f"[open these rows in the QuestDB console]({link})"),
        "sign_in": sign_in,
    }


def of_pace(rows: int, *, seconds: float) -> Metadata:
    """Say how long a load took."""
    return {"rows_per_second": round(rows / seconds) if seconds else 0, "seconds": round(seconds, 3)}


def _top_applications(endpoints: Path, answers: Path) -> list[tuple[str, int]]:
    """Sum the bytes of the server names of each application; of its addresses where no name is known."""
    with duckdb_pool.connection(answers) as connection:
        return connection.execute(
            """SELECT a.app_tag, sum(e.bytes)::BIGINT AS bytes FROM read_parquet(?) e JOIN read_parquet(?) a USING (kind, endpoint)
            WHERE a.app_tag IS NOT NULL GROUP BY a.app_tag, kind QUALIFY row_number() OVER (PARTITION BY a.app_tag ORDER BY kind DESC) = 1
            ORDER BY bytes DESC LIMIT 10""",
            [str(endpoints), str(answers)],
        ).fetchall()


def by_provider(counts: Mapping[str, Counts]) -> dg.MetadataValue:
    """Draw a row for each provider: of the endpoints that it was to be asked about, what became of how many."""
    header = ("provider", "endpoints", "answered", "not found", "failed", "pending", "not asked", "from the cache", "stale", "calls")
    lines = [" | ".join(header), "|".join(["---", *["--:"] * (len(header) - 1)])]
    for name, of_one in counts.items():
        numbers = (
            *(of_one.endpoints, of_one.answered, of_one.not_found, of_one.failed, of_one.pending, of_one.not_asked),
            *(of_one.cached, of_one.stale, of_one.asked),
        )
        lines.append(" | ".join([escaped(name), *(f"{number:,}" for number in numbers)]))
    return dg.MetadataValue.md("".join(f"| {line} |\n" for line in lines))


def _changes(changed: Sequence[Change]) -> dg.MetadataValue:
    """List what changed, from what to what, as much of it as is shown inline."""
    lines = ([escaped(change.endpoint), change.what, escaped(change.before or "-"), escaped(change.after or "-")] for change in changed)
    return inline_table({"endpoint": "---", "of its": "---", "was": "---", "is": "---"}, lines)


def _time(microseconds: int) -> dg.MetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(microseconds // 1_000_000, UTC))


def _table(header: tuple[str, str], rows: Iterable[tuple[str, int]]) -> dg.MetadataValue:
    """Draw names and numbers."""
    return inline_table({header[0]: "---", header[1]: "--:"}, ([escaped(name), f"{number:,}"] for name, number in rows))


def inline_table(columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> dg.MetadataValue:
    """Draw rows as a Markdown table, as many as are shown inline.

    Args:
        columns: their names, and how each is aligned: `---` or `--:`.
        rows: cells, escaped.
    """
    text = f"| {' | '.join(columns)} |\n|{'|'.join(columns.values())}|\n"
    for row in rows:
        line = f"| {' | '.join(row)} |\n"
        if len(text) + len(line) >= INLINE:
            break
        text += line
    return dg.MetadataValue.md(text)


def escaped(text: str, *, longest: int = 120) -> str:
    """Take the meaning that Markdown gives to characters from a text that others chose, and its end if it is long."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~])", r"\\\1", visible(text.replace("\n", " ")[:longest]))
