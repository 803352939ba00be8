"""Compares one capture that the ledger calls done with its files and with what the back ends store."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import duckdb

from mt_pipeline.backends.loads import StoredCounts
from mt_pipeline.captures.identity import Capture, CaptureError, capture_at, sha256_of
from mt_pipeline.captures.records import Record, State
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.retention import documents_expired
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.tshark import documents


@dataclass(frozen=True)
class Difference:
    """Something that is not as the ledger says.

    Attributes:
        key: the capture key.
        what: what is not, and what to do.
        rows: whether rows are missing, too many or of other packets, which loading the capture again puts right.
        record: what the ledger said of it then; None if it does not know it.
        left_over: its packets have expired, and yet there are rows of them.
    """

    key: str
    what: str
    rows: bool = False
    record: Record | None = field(default=None, repr=False)
    left_over: bool = False

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.key}: {self.what}"


def compare(
    workspace: Workspace,
    record: Record,
    stored: Mapping[str, Mapping[str, StoredCounts]],
    *,
    hashed: bool,
) -> list[Difference]:
    """Compare a capture; that it cannot be compared is a difference, too, and costs no other one."""
    try:
        return list(_of_record(workspace, record, stored, hashed=hashed))
    except OSError as error:
        return [
            Difference(
                record.key,
                f"it cannot be compared ({error.strerror or error}): make its files readable for this user",
            )
        ]


def _of_record(
    workspace: Workspace,
    record: Record,
    stored: Mapping[str, Mapping[str, StoredCounts]],
    *,
    hashed: bool,
) -> Iterator[Difference]:
    held = {name: of_all.get(record.key, StoredCounts()) for name, of_all in stored.items()}
    if record.state is State.PURGED:
        for name, here in held.items():
            if here.rows or here.flow_packets:
                yield Difference(
                    record.key,
                    f"it was purged, but {name} has {here.rows:,} rows of it: purge it again",
                )
    if record.state is not State.DONE:
        return
    yield from _of_files(workspace, record, hashed=hashed)
    for name, here in held.items():
        if wrong := _of_rows(record, name, here):
            yield Difference(
                record.key,
                f"{wrong}: {_cure(workspace, record, here)}",
                rows=True,
                record=record,
                left_over=_is_left_over(record, here),
            )


def _of_rows(record: Record, name: str, here: StoredCounts) -> str | None:
    """Say what is wrong with the rows of a capture in a back end, None if nothing is."""
    rows = record.rows or 0
    if record.packets_expired_at is not None:
        if here.rows:
            return f"its packets have expired, but {name} has {here.rows:,} rows of it"
        return (
            None
            if here.flow_packets == rows
            else f"in {name} its flows have {here.flow_packets:,} of its {rows:,} packets"
        )
    if here.rows != rows:
        return f"{name} has {here.rows:,} of its {rows:,} rows"
    if (here.rows, here.bytes) != (here.flow_packets, here.flow_bytes):
        flows = f"its flows have {here.flow_packets:,} packets and {here.flow_bytes:,} bytes"
        return f"in {name} {flows}, its rows {here.rows:,} and {here.bytes:,}"
    return None


def _cure(workspace: Workspace, record: Record, here: StoredCounts) -> str:
    if _is_left_over(record, here):
        return "`mt-pipeline verify --repair` has the next `expire_old` take them out"
    if os.path.exists(workspace.inbox / record.key):  # noqa: PTH110  Path.exists raises where a folder may not be entered
        return "load it again"
    if has_sources(workspace, record):
        return "its file has left the inbox, but `mt-pipeline verify --repair` has it loaded again from its documents"
    return "its file has left the inbox and its documents are gone, so it cannot be loaded again until the file is back"


def _is_left_over(record: Record, here: StoredCounts) -> bool:
    return record.packets_expired_at is not None and here.rows > 0


def has_sources(workspace: Workspace, record: Record) -> bool:
    """Say whether a refresh can load the capture: from typed packets, or from documents."""
    files = CaptureFiles(workspace.options.data_dir, record.key)
    if (
        record.documents is None or record.packets_expired_at is not None
    ):  # a refresh leaves these alone
        return False
    return files.packets(record.documents).exists() or files.documents(record.documents).exists()


def _of_files(workspace: Workspace, record: Record, *, hashed: bool) -> Iterator[Difference]:
    try:
        capture = capture_at(workspace.inbox, record.key)
    except CaptureError:
        yield Difference(
            record.key, "its file is gone from the inbox; its rows stay until you purge it"
        )
    else:
        if (capture.size, capture.mtime_ns) != (record.size, record.mtime_ns):
            yield Difference(
                record.key,
                "its file has changed since it was loaded: the service, or `mt-pipeline ingest`, loads it again",
            )
        elif hashed:
            yield from _of_content(capture, record)
    if not record.documents or documents_expired(workspace.options, record):
        return
    path = CaptureFiles(workspace.options.data_dir, record.key).documents(record.documents)
    if not path.exists():
        yield Difference(record.key, "its documents are gone: the next load runs tshark again")
    elif hashed:
        try:
            count = documents.count(path)
        except (duckdb.Error, OSError):
            count = 0
        if count != record.packets:
            cure = f"delete {path}, and the next load runs tshark again"
            yield Difference(
                record.key,
                f"{count:,} of its {record.packets or 0:,} documents can be read: {cure}",
            )


def _of_content(capture: Capture, record: Record) -> Iterator[Difference]:
    try:
        if sha256_of(capture) == record.sha256:
            return
    except CaptureError as error:
        yield Difference(record.key, str(error).removeprefix(f"{record.key}: "))
        return
    what = (
        "its file has other bytes than the one that was loaded, though size and time are the same"
    )
    yield Difference(record.key, f"{what}: load it again", rows=True, record=record)
