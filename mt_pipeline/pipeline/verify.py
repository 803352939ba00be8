"""Holds the captures that the ledger calls done against their files and against what the back ends hold, and has loaded again what is missing.

QuestDB says that it has rows before they are on the disk: a power cut can take them away again. So this is done by itself after a stop that
was not clean, besides by `mt-pipeline verify` and by the check `verified`.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import server
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record
from mt_pipeline.pipeline.comparison import Difference, compare, has_sources
from mt_pipeline.pipeline.workspace import Workspace

_MOMENT = 1


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
        for difference in compare(workspace, record, stored, hashed=hashed)
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
        server.forget_crash(workspace.questdb_folder)
    return f"QuestDB was not stopped in order the last time: {missing}"


def count_text(found: Sequence[Difference]) -> str:
    """Say how many there are."""
    return f"{len(found):,} difference{'' if len(found) == 1 else 's'}"


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
    if has_sources(workspace, record):
        workspace.ledger.answered(
            record.key, answers=None, owed=record.owed
        )  # as if a refresh had broken off: the next one loads it
        return True
    return False
