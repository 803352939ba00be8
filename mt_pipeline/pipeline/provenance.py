"""What made the rows of an experiment: captures, tshark, filter, providers, whose data they are."""

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import maxminddb

from mt_pipeline import __version__
from mt_pipeline.api.question import Question
from mt_pipeline.captures.records import Record, State
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.report.sources import Files, sources
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import TsharkError


def made(workspace: Workspace, question: Question) -> Mapping[str, object]:
    """Return what made the answer to a question, as a JSON object."""
    records = [
        record
        for record in workspace.ledger.records(experiment=question.experiment)
        if record.state is State.DONE
    ]
    try:
        tshark = workspace.tshark
    except TsharkError:  # what it made can be read without it
        tshark = None
    answered_by = {name for record in records for name in record.answers_by}
    files = files_of(workspace.options)
    named = sources(
        answered_by,
        files,
        has_city=files.city is not None,
        has_domains=True,
        has_owners="remote_organisation" in question.table.columns,
    )
    return {
        "version": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": question.experiment,
        "table": question.table.views,
        "where": None if question.where is None else str(question.where),
        "since": question.since and question.since.isoformat(),
        "until": question.until and question.until.isoformat(),
        "captures": [_capture(record, tshark) for record in records],
        "licences": [
            f"{source.before}{source.link}{f' <{source.url}>' if source.url else ''}{source.after}"
            for source in named
        ],
    }


def was_read_by(tshark: Tshark, record: Record) -> bool:
    """Return whether this version of tshark made the documents, by their name."""
    inputs = documents.inputs_hash(
        tshark, sha256=record.sha256 or "", display_filter=record.filter or ""
    )
    return record.sha256 is not None and record.documents == inputs


def files_of(options: Options) -> Files:
    """Return the files that are read on this machine now."""
    networks = _type_of(options.offline_asn_mmdb)
    if "offline" not in options.providers:
        return Files(networks=networks)
    return Files(
        city=_type_of(options.offline_city_mmdb),
        apps=options.offline_apps is not None,
        networks=networks,
    )


def _type_of(mmdb: Path | None) -> str | None:
    if mmdb is None:
        return None
    with closing(maxminddb.open_database(mmdb)) as file:
        return str(file.metadata().database_type)


def _capture(record: Record, tshark: Tshark | None) -> Mapping[str, object]:
    """Return what made the rows of a capture; `tshark` is null if that was another version."""
    is_same = tshark is not None and was_read_by(tshark, record)
    return {
        "capture": record.key,
        "sha256": record.sha256,
        "tshark": tshark.version if tshark and is_same else None,
        "filter": record.filter or "",
        "packets": record.packets,
        "rows": record.rows,
        "skipped": dict(record.skipped),
        "loaded": datetime.fromtimestamp(record.changed_at, UTC).isoformat(timespec="seconds"),
        "providers": {name: dict(counts) for name, counts in record.answers_by.items()},
        "answers_as_of": record.as_of,
    }
