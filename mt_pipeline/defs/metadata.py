"""What a person wants to know of a capture, stage by stage, as Dagster's metadata: plain numbers are plotted across captures.

Markdown below 1,000 characters is drawn on the page itself; keys are the user's file names, so they are escaped.
For the underlying concept, see https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import dagster as dg
import duckdb

from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.packets.endpoints import Endpoints
from mt_pipeline.questdb.loader import Loaded
from mt_pipeline.questdb.schema import TABLE, view_name

Metadata = dict[str, dg.MetadataValue | int | float | str]

_INLINE = 1000


def of_documents(*, path: Path, packets: int, capture_bytes: int, seconds: float, reused: bool, cut: bool, display_filter: str) -> Metadata:
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
        "documents": dg.MetadataValue.path(path),
    }


def of_endpoints(found: Endpoints, *, path: Path, seconds: float) -> Metadata:
    """Describe the endpoints of a capture, and its time."""
    return {
        "dagster/row_count": found.addresses + found.names,
        "public_addresses": found.addresses,
        "server_names": found.names,
        "bytes": found.bytes,
        **({} if found.first_us is None else {"first_packet": _time(found.first_us)}),
        **({} if found.last_us is None else {"last_packet": _time(found.last_us)}),
        "capture_seconds": ((found.last_us or 0) - (found.first_us or 0)) / 1e6,
        "top_server_names": _table(("server name", "bytes"), found.top_names),
        "seconds": round(seconds, 3),
        "endpoints": dg.MetadataValue.path(path),
    }


def of_enrichment(counts: Counts, *, endpoints: Path, path: Path, seconds: float) -> Metadata:
    """Describe the answers for the endpoints of a capture."""
    return {
        "dagster/row_count": counts.endpoints,
        "providers": ", ".join(counts.by_provider) or "none",
        "cache_hits": counts.cached,
        "calls": counts.asked,
        "answered": counts.answered,
        "not_found": counts.not_found,
        "failed": counts.failed,
        "not_asked": counts.not_asked,
        **({"stopped": counts.stopped} if counts.stopped else {}),
        "by_provider": _by_provider(counts),
        "top_applications": _table(("application", "bytes"), _top_applications(endpoints, path)),
        "seconds": round(seconds, 3),
        "enrichment": dg.MetadataValue.path(path),
    }


def of_table(loaded: Loaded, *, key: str, experiment: str, console: str, seconds: float) -> Metadata:
    """Describe the rows of a capture, with a link to them."""
    quoted = key.replace("'", "''")
    sql = f"SELECT * FROM {view_name(experiment) if loaded.has_view else TABLE} WHERE capture = '{quoted}' ORDER BY ts LIMIT 1000"
    link = f"{console}/?{urlencode({'query': sql, 'executeQuery': 'true'})}"
    return {
        "dagster/row_count": loaded.rows,
        "rows": loaded.rows,
        "packets": loaded.read,
        "skipped": sum(loaded.skipped.values()),
        **{f"skipped_{re.sub(r'[^a-z0-9]+', '_', reason)}": count for reason, count in loaded.skipped.items()},
        "rows_gone": loaded.gone,
        "experiment": experiment,
        "table": view_name(experiment) if loaded.has_view else f"{TABLE} (the server bears no more views: query it by experiment)",
        "query": dg.MetadataValue.md(f"[open these rows in the QuestDB console]({link})"),
        "rows_per_second": round(loaded.rows / seconds) if seconds else 0,
        "seconds": round(seconds, 3),
    }


def _top_applications(endpoints: Path, answers: Path) -> list[tuple[str, int]]:
    """Sum the bytes of the server names of each application; of its addresses where no name is known."""
    with duckdb.connect() as connection:
        return connection.execute(
            """SELECT a.app_tag, sum(e.bytes)::BIGINT AS bytes FROM read_parquet(?) e JOIN read_parquet(?) a USING (kind, endpoint)
            WHERE a.app_tag IS NOT NULL GROUP BY a.app_tag, kind QUALIFY row_number() OVER (PARTITION BY a.app_tag ORDER BY kind DESC) = 1
            ORDER BY bytes DESC LIMIT 10""",
            [str(endpoints), str(answers)],
        ).fetchall()


def _by_provider(counts: Counts) -> dg.MetadataValue:
    """Draw a row for each provider: of the endpoints that it was to be asked about, what became of how many."""
    header = ("provider", "endpoints", "answered", "not found", "failed", "not asked", "from the cache", "calls")
    lines = [" | ".join(header), "|".join(["---", *["--:"] * (len(header) - 1)])]
    for name, of_one in counts.by_provider.items():
        numbers = (
            *(of_one.endpoints, of_one.answered, of_one.not_found, of_one.failed, of_one.not_asked),
            *(of_one.cached, of_one.asked),
        )
        lines.append(" | ".join([_escaped(name), *(f"{number:,}" for number in numbers)]))
    return dg.MetadataValue.md("".join(f"| {line} |\n" for line in lines))


def _time(microseconds: int) -> dg.MetadataValue:
    return dg.MetadataValue.timestamp(datetime.fromtimestamp(microseconds // 1_000_000, UTC))


def _table(header: tuple[str, str], rows: Iterable[tuple[str, int]]) -> dg.MetadataValue:
    """Draw rows as a Markdown table, as many as are shown inline."""
    text = f"| {header[0]} | {header[1]} |\n|---|--:|\n"
    for name, number in rows:
        line = f"| {_escaped(name)} | {number:,} |\n"
        if len(text) + len(line) >= _INLINE:
            break
        text += line
    return dg.MetadataValue.md(text)


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~])", r"\\\1", text.replace("\n", " "))[:120]
