"""Compares the ledger with files and back ends, and has captures loaded again whose rows are wrong.

QuestDB confirms rows before they are on the disk, so a power cut can lose them. That is why the
service does this after a crash, besides `mt-pipeline verify` and the check `verified`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import server_folder
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record
from mt_pipeline.pipeline.comparison import Difference, compare, finder, has_sources, is_in_inbox
from mt_pipeline.pipeline.workspace import Workspace

_LOCK_SECONDS = 1


@dataclass(frozen=True)
class Repaired:
    """The result of a repair.

    Attributes:
        again: number of captures that will be loaded again.
        busy: number of captures that another process works on, so that nothing was done.
    """

    again: int = 0
    busy: int = 0


def differences(
    workspace: Workspace,
    chosen: Callable[[Record], bool] | None = None,
    *,
    files: bool = True,
    hashed: bool = False,
    thorough: bool = False,
) -> list[Difference]:
    """Compare ledger, files and back ends. Captures that change meanwhile are left out.

    Args:
        workspace: the data folder.
        chosen: selects captures. By default all are compared, also those that have rows, but no
            record in the ledger.
        files: whether to compare files, too.
        hashed: whether to read every file and all documents, too.
        thorough: whether to read every column of the rows: a power cut may have damaged any.

    Raises:
        BackendError: QuestDB does not answer, or cannot read its tables.
        InboxError: the store with the files cannot be asked.
    """
    before = {record.key: record for record in workspace.ledger.records()}
    stored = {backend.name: backend.stored(thorough=thorough) for backend in workspace.backends()}
    after = {record.key: record for record in workspace.ledger.records()}
    unchanged = [
        record
        for key, record in after.items()
        if before.get(key) == record and (chosen is None or chosen(record))
    ]
    find = finder(workspace) if files else None
    compared = [
        (record, difference)
        for record in unchanged
        for difference in compare(workspace, record, stored, find=find, hashed=hashed)
    ]
    # To read files may take hours. What was loaded meanwhile is compared next time.
    after = {record.key: record for record in workspace.ledger.records()}
    found = [difference for record, difference in compared if after.get(record.key) == record]
    if chosen is not None:
        return found
    cure = "copy its file to the inbox under this key, or rows of a lost ledger stay as they are"
    unknown = [
        (key, name)
        for name, counts in stored.items()
        for key in sorted(counts.keys() - after.keys() - before.keys())
    ]
    return found + [
        Difference(key, f"{name} has rows of it, but the ledger does not know it: {cure}")
        for key, name in unknown
    ]


def load_again(workspace: Workspace, found: Sequence[Difference]) -> Repaired:
    """Have captures loaded again whose rows are wrong.

    The sensor, or `mt-pipeline ingest`, loads a capture whose file is in the inbox; the next
    refresh loads the others. A capture that has changed since it was compared is left alone.
    """
    again = busy = 0
    wrong = {difference.key: difference for difference in found if difference.rows}
    for key, difference in wrong.items():
        try:
            with workspace.ledger.lock(key, timeout=_LOCK_SECONDS) as record:
                again += record == difference.record and _give_back(workspace, difference)
        except CaptureBusyError:
            busy += 1
    return Repaired(again, busy)


def after_a_crash(workspace: Workspace) -> str | None:
    """Verify all captures if the embedded QuestDB crashed, and have wrong rows loaded again.

    QuestDB must be running.

    Returns:
        A sentence for people; None if it did not crash.
    """
    if not workspace.has_crashed:
        return None
    try:
        compared = differences(workspace, files=False, thorough=True)
        found = [difference for difference in compared if difference.rows]
    except (BackendError, psycopg.Error) as error:
        # Start all the same: the cure needs a running QuestDB.
        return _cannot_verify(workspace, " ".join(str(error).split()))
    repaired = load_again(workspace, found)
    missing = "no row is missing"
    if keys := {difference.key for difference in found}:
        missing = (
            f"rows of {len(keys):,} captures are not as they were; "
            f"{repaired.again:,} are loaded again"
        )
    if repaired.busy:
        missing += (
            f"; {repaired.busy:,} are being worked on, and are looked at again at the next start"
        )
    else:
        server_folder.forget_crash(workspace.questdb_folder)
    return f"QuestDB was not stopped in order the last time: {missing}"


def count_text(found: Sequence[Difference]) -> str:
    """Return the number of differences as text."""
    return f"{len(found):,} difference{'' if len(found) == 1 else 's'}"


def _cannot_verify(workspace: Workspace, reason: str) -> str:
    cure = (
        f"move {workspace.questdb_folder} away, "
        f"then `mt-pipeline verify --repair` and `mt-pipeline ingest {workspace.inbox}`"
    )
    return (
        "QuestDB was not stopped in order the last time, and what is missing cannot be told: "
        f"{reason}; if that is no help, stop all, {cure}: all is loaded again"
    )


def _give_back(workspace: Workspace, difference: Difference) -> bool:
    """Have a capture loaded again, if that is possible. Return whether it is."""
    record = difference.record
    if record is None:
        return False
    if difference.left_over:
        workspace.ledger.expire_packets(record.key, undo=True)
        return False
    if is_in_inbox(workspace, record):
        workspace.ledger.give_back(record.key)
        return True
    if has_sources(workspace, record):
        # As if a refresh was killed: the next one loads it.
        workspace.ledger.answered(record.key, answers=None, owed=record.owed)
        return True
    return False
