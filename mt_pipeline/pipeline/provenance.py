"""What made the rows of an experiment: captures, tshark, filter, providers, whose data they are."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import maxminddb
import pyarrow.parquet

from mt_pipeline import __version__
from mt_pipeline.api.question import Question
from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.pipeline.files import CaptureFiles
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
        "captures": [_capture(record, workspace.options, tshark) for record in records],
        "tables": _tables(workspace.options),
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
    return None if mmdb is None else str(_metadata(mmdb).database_type)


def _metadata(mmdb: Path) -> maxminddb.reader.Metadata:
    with closing(maxminddb.open_database(mmdb)) as file:
        return file.metadata()


def _tables(options: Options) -> Mapping[str, object]:
    """Return the dates of the tables that are read on this machine now."""
    ours = Networks().provenance
    files = {"city": options.offline_city_mmdb, "networks": options.offline_asn_mmdb}
    built = {name: _metadata(file).build_epoch for name, file in files.items() if file}
    return {
        f"{ours.package} {ours.version}": ours.date,
        **{name: str(datetime.fromtimestamp(epoch, UTC).date()) for name, epoch in built.items()},
    }


def _asked(record: Record, options: Options) -> Sequence[str] | None:
    """Return when paid providers gave the first and the last of the answers; None if none did.

    The statistics of the file tell.
    """
    files = CaptureFiles(options.data_dir, record.key, record.follows)
    try:
        metadata = pyarrow.parquet.read_metadata(files.enrichment(record.documents or ""))
    except FileNotFoundError:
        return None
    column = metadata.schema.to_arrow_schema().get_field_index("asked_at")
    groups = (metadata.row_group(group).column(column) for group in range(metadata.num_row_groups))
    stretches = [
        group.statistics for group in groups if group.statistics and group.statistics.has_min_max
    ]
    if not stretches:
        return None
    ends = min(each.min for each in stretches), max(each.max for each in stretches)
    return [end.isoformat(timespec="seconds") for end in ends]


def _capture(record: Record, options: Options, tshark: Tshark | None) -> Mapping[str, object]:
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
        "asked": _asked(record, options),
        "answers_as_of": record.as_of,
    }
