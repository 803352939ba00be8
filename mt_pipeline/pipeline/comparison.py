"""Compares the record of one capture with its files and with the rows in the back ends."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import duckdb

from mt_pipeline.backends.loads import StoredCounts
from mt_pipeline.captures.identity import Capture, capture_at, sha256_of
from mt_pipeline.captures.inbox import walk
from mt_pipeline.captures.naming import CaptureError, CaptureGoneError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.store import InboxError
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.retention import documents_expired
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.tshark import documents


@dataclass(frozen=True)
class Difference:
    """A difference between the ledger and what is stored.

    Attributes:
        key: the capture key.
        what: what differs, and what to do.
        rows: whether the rows are wrong, so that another load of the capture repairs them.
        record: its record when it was compared; None if the ledger does not have it.
        left_over: whether it has rows although its packets have expired.
    """

    key: str
    what: str
    rows: bool = False
    record: Record | None = field(default=None, repr=False)
    left_over: bool = False

    def __str__(self) -> str:
        """Return it as a line of text."""
        return f"{self.key}: {self.what}"


Find: TypeAlias = Callable[[str], Capture]
"""Returns the capture of a key as it is in the inbox; raises CaptureError if it is not."""


def finder(workspace: Workspace) -> Find:
    """Return what finds captures; all of a store are listed at once.

    Raises:
        InboxError: the store cannot be asked.
    """
    inbox = workspace.inbox
    if isinstance(inbox, Path):
        return partial(capture_at, inbox)
    there = walk(inbox)
    for problem in there.problems:
        raise InboxError(problem)
    by_key = {capture.key: capture for capture in there.captures}

    def find(key: str) -> Capture:
        if key not in by_key:
            raise CaptureGoneError(f"{key} is not in the inbox any more")
        return by_key[key]

    return find


def compare(
    workspace: Workspace,
    record: Record,
    stored: Mapping[str, Mapping[str, StoredCounts]],
    *,
    find: Find | None,
    hashed: bool,
) -> list[Difference]:
    """Return the differences of a capture. Files that cannot be read are a difference, too.

    Args:
        workspace: the data folder.
        record: the record of the capture.
        stored: what each back end stores, by name of the back end and capture key.
        find: see `finder`; None to compare the rows alone.
        hashed: whether to read the file and all documents, too.
    """
    try:
        return list(_differences(workspace, record, stored, find=find, hashed=hashed))
    except OSError as error:
        reason = f"it cannot be compared ({error.strerror or error})"
        return [Difference(record.key, f"{reason}: make its files readable for this user")]


def _differences(
    workspace: Workspace,
    record: Record,
    stored: Mapping[str, Mapping[str, StoredCounts]],
    *,
    find: Find | None,
    hashed: bool,
) -> Iterator[Difference]:
    by_backend = {name: counts.get(record.key, StoredCounts()) for name, counts in stored.items()}
    if record.state is State.PURGED:
        for name, counts in by_backend.items():
            if counts.rows or counts.flow_packets:
                yield Difference(
                    record.key,
                    f"it was purged, but {name} has {counts.rows:,} rows of it: purge it again",
                )
    if record.state is not State.DONE:
        return
    if find:
        yield from _file_differences(workspace, record, find=find, hashed=hashed)
    for name, counts in by_backend.items():
        if wrong := _wrong_rows(record, name, counts):
            yield Difference(
                record.key,
                f"{wrong}: {_cure(workspace, record, counts)}",
                rows=True,
                record=record,
                left_over=_is_left_over(record, counts),
            )


def _wrong_rows(record: Record, name: str, counts: StoredCounts) -> str | None:
    """Describe what is wrong with the rows of a capture in a back end; None if they are right."""
    rows = record.rows or 0
    if record.packets_expired_at is not None:
        if counts.rows:
            return f"its packets have expired, but {name} has {counts.rows:,} rows of it"
        if counts.flow_packets == rows:
            return None
        return f"in {name} its flows have {counts.flow_packets:,} of its {rows:,} packets"
    if counts.rows != rows:
        return f"{name} has {counts.rows:,} of its {rows:,} rows"
    if (counts.rows, counts.bytes) != (counts.flow_packets, counts.flow_bytes):
        flows = f"its flows have {counts.flow_packets:,} packets and {counts.flow_bytes:,} bytes"
        return f"in {name} {flows}, its rows {counts.rows:,} and {counts.bytes:,}"
    return None


def _cure(workspace: Workspace, record: Record, counts: StoredCounts) -> str:
    if _is_left_over(record, counts):
        return "`mt-pipeline verify --repair` has the next `expire_old` take them out"
    if is_in_inbox(workspace, record):
        return "load it again"
    if has_sources(workspace, record):
        return (
            "its file has left the inbox, but `mt-pipeline verify --repair` "
            "has it loaded again from its documents"
        )
    return (
        "its file has left the inbox and its documents are gone, "
        "so it cannot be loaded again until the file is back"
    )


def _is_left_over(record: Record, counts: StoredCounts) -> bool:
    return record.packets_expired_at is not None and counts.rows > 0


def is_in_inbox(workspace: Workspace, record: Record) -> bool:
    """Return whether the file of a capture is in the inbox, where this user can see it."""
    inbox = workspace.inbox
    if isinstance(inbox, Path):
        # Path.exists raises if a folder may not be entered.
        return os.path.exists(inbox / record.key)  # noqa: PTH110
    try:
        capture_at(inbox, record.key)
    except CaptureError:
        return False
    except InboxError:  # it is looked for again when the capture is loaded
        return True
    return True


def has_sources(workspace: Workspace, record: Record) -> bool:
    """Return whether a refresh can load the capture: from typed packets, or from documents."""
    files = CaptureFiles(workspace.options.data_dir, record.key)
    if record.documents is None or record.packets_expired_at is not None:
        return False
    return files.packets(record.documents).exists() or files.documents(record.documents).exists()


def _file_differences(
    workspace: Workspace, record: Record, *, find: Find, hashed: bool
) -> Iterator[Difference]:
    try:
        capture = find(record.key)
    except CaptureError:
        yield Difference(
            record.key, "its file is gone from the inbox; its rows stay until you purge it"
        )
    else:
        if (capture.size, capture.mtime_ns) != (record.size, record.mtime_ns):
            yield Difference(
                record.key,
                "its file has changed since it was loaded: "
                "the service, or `mt-pipeline ingest`, loads it again",
            )
        elif hashed:
            yield from _content_differences(capture, record)
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


def _content_differences(capture: Capture, record: Record) -> Iterator[Difference]:
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
