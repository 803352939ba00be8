"""Holds the captures that the ledger calls done against their files and against what the back ends hold, and has loaded again what is missing.

QuestDB says that it has rows before they are on the disk: a power cut can take them away again. So this is done by itself after a stop that
was not clean, besides by `mt-pipeline verify` and by the check `verified`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import psycopg

from mt_pipeline.backends.loads import BackendError, StoredCounts
from mt_pipeline.backends.questdb import server_folder
from mt_pipeline.captures.identity import Capture, capture_at, sha256_of
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.retention import documents_expired
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.tshark import documents

_MOMENT = 1


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


@dataclass(frozen=True)
class Repaired:
    """What became of captures whose rows are not right.

    Attributes:
        again: captures that are loaded again.
        busy: captures that are being worked on, and so were left alone.
    """

    again: int = 0
    busy: int = 0


def differences(
    workspace: Workspace,
    chosen: Callable[[Record], bool] | None = None,
    *,
    hashed: bool = False,
    thorough: bool = False,
) -> list[Difference]:
    """Compare ledger, files and back ends; captures that are being worked on meanwhile are passed over.

    Args:
        workspace: the data folder.
        chosen: which captures; all by default, and what the ledger does not know.
        hashed: read every file and all documents, too.
        thorough: read every column of the rows, as a power cut may have damaged any.

    Raises:
        BackendError: QuestDB does not answer, or cannot read its tables.
    """
    before = {record.key: record for record in workspace.ledger.records()}
    stored = {backend.name: backend.stored(thorough=thorough) for backend in workspace.backends()}
    after = {record.key: record for record in workspace.ledger.records()}
    steady = [
        record
        for key, record in after.items()
        if before.get(key) == record and (chosen is None or chosen(record))
    ]
    compared = [
        (record, difference)
        for record in steady
        for difference in _compared(workspace, record, stored, hashed=hashed)
    ]
    # Files may take hours to read, and what was loaded meanwhile has others.
    after = {record.key: record for record in workspace.ledger.records()}
    found = [difference for record, difference in compared if after.get(record.key) == record]
    if chosen is not None:
        return found
    cure = "copy its file to the inbox under this key, or rows of a lost ledger stay as they are"
    strangers = [
        (key, name)
        for name, held in stored.items()
        for key in sorted(held.keys() - after.keys() - before.keys())
    ]
    return found + [
        Difference(key, f"{name} has rows of it, but the ledger does not know it: {cure}")
        for key, name in strangers
    ]


def load_again(workspace: Workspace, found: Sequence[Difference]) -> Repaired:
    """Give captures whose rows are not right back to the next look of the sensor, or to the next `ingest`; without a file, to the next refresh.

    One that is being worked on, or is not any more what was compared, is left alone: its rows are others by now. Who only looks lets go within
    moments.
    """
    again = busy = 0
    for key, difference in {
        difference.key: difference for difference in found if difference.rows
    }.items():
        try:
            with workspace.ledger.lock(key, timeout=_MOMENT) as record:
                again += record == difference.record and _given_back(workspace, difference)
        except CaptureBusyError:
            busy += 1
    return Repaired(again, busy)


def after_a_crash(workspace: Workspace) -> str | None:
    """Verify if the embedded QuestDB did not stop in order the last time, have what is missing loaded again, and say so; it must be running."""
    if not workspace.has_crashed:
        return None
    try:
        found = [
            difference for difference in differences(workspace, thorough=True) if difference.rows
        ]
    except (
        BackendError,
        psycopg.Error,
    ) as error:  # no reason not to start: the cure needs a running QuestDB
        why = " ".join(str(error).split())
        cure = f"move {workspace.questdb_folder} away, then `mt-pipeline verify --repair` and `mt-pipeline ingest {workspace.inbox}`"
        last = f"if that is no help, stop all, {cure}: all is loaded again"
        return f"QuestDB was not stopped in order the last time, and what is missing cannot be told: {why}; {last}"
    repaired = load_again(workspace, found)
    missing = "no row is missing"
    if keys := {difference.key for difference in found}:
        missing = f"rows of {len(keys):,} captures are not as they were; {repaired.again:,} are loaded again"
    if repaired.busy:
        missing += (
            f"; {repaired.busy:,} are being worked on, and are looked at again at the next start"
        )
    else:
        server_folder.forget_crash(workspace.questdb_folder)
    return f"QuestDB was not stopped in order the last time: {missing}"


def count_text(found: Sequence[Difference]) -> str:
    """Say how many there are."""
    return f"{len(found):,} difference{'' if len(found) == 1 else 's'}"


def _compared(
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
    if _has_sources(workspace, record):
        return "its file has left the inbox, but `mt-pipeline verify --repair` has it loaded again from its documents"
    return "its file has left the inbox and its documents are gone, so it cannot be loaded again until the file is back"


def _is_left_over(record: Record, here: StoredCounts) -> bool:
    return record.packets_expired_at is not None and here.rows > 0


def _has_sources(workspace: Workspace, record: Record) -> bool:
    """Say whether a refresh can load the capture: from typed packets, or from documents."""
    files = CaptureFiles(workspace.options.data_dir, record.key)
    if (
        record.documents is None or record.packets_expired_at is not None
    ):  # a refresh leaves these alone
        return False
    return files.packets(record.documents).exists() or files.documents(record.documents).exists()


def _given_back(workspace: Workspace, difference: Difference) -> bool:
    record = difference.record
    if record is None:
        return False
    if difference.left_over:
        workspace.ledger.expire_packets(record.key, undo=True)
        return False
    if os.path.exists(workspace.inbox / record.key):  # noqa: PTH110  see above
        workspace.ledger.give_back(record.key)
        return True
    if _has_sources(workspace, record):
        workspace.ledger.answered(
            record.key, answers=None, owed=record.owed
        )  # as if a refresh had broken off: the next one loads it
        return True
    return False


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
