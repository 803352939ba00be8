"""Writes the verdict on a capture to the ledger: it is loaded, it failed, or it has to run again.

The caller holds the capture's lock. If it was lost, the capture is another run's to judge: no
verdict is written, and nothing of the capture is deleted.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mt_pipeline.backends.loads import Loaded
from mt_pipeline.captures.database import UnknownCaptureError
from mt_pipeline.captures.locks import CaptureLostError
from mt_pipeline.captures.naming import CaptureGoneError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment import changes
from mt_pipeline.pipeline import captures_table
from mt_pipeline.pipeline.causes import is_outage, is_suspect
from mt_pipeline.pipeline.failures import failed, is_interrupt
from mt_pipeline.pipeline.stages import Stages

log = logging.getLogger(__name__)

_NOT_OURS = (UnknownCaptureError, CaptureLostError)
"""Errors of the ledger if there is no verdict to write."""


def note_done(stages: Stages, loaded: Loaded) -> None:
    """Note that the capture is loaded, and with which counts."""
    stages.run.workspace.ledger.finish(
        stages.key,
        sha256=stages.sha256,
        documents=stages.inputs,
        packets=loaded.read,
        rows=loaded.rows,
        skipped=loaded.skipped,
        cut=stages.cut,
        handover=stages.derived.handover(stages.inputs),
    )
    note_answers(stages)


def note_answers(stages: Stages) -> None:
    """Note the answers that the rows were made with."""
    counts = stages.counts
    by_provider = counts.by_provider.items() if counts else None
    stages.run.workspace.ledger.answered(
        stages.key,
        answers=stages.made_of,
        owed=changes.count_owed(stages.files.enrichment(stages.inputs)),
        answers_by=None if by_provider is None else {name: c.numbers for name, c in by_provider},
        as_of=None if stages.as_of is None else stages.as_of.isoformat(),
    )


@contextmanager
def verdict_of(stages: Stages, before: Record | None) -> Iterator[None]:
    """Write the verdict if the block fails, and raise its error again.

    If the file was deleted before it was read, the block ends without an error.

    Raises:
        CaptureLostError: the lock was lost; there is no verdict.
    """
    try:
        yield
    except CaptureLostError:
        raise
    except Exception as error:
        if is_interrupt(error):
            note_stopped(stages)
            raise KeyboardInterrupt from None
        stages.run.workspace.ledger.check(stages.key)  # else another run may have caused the error
        if isinstance(error, CaptureGoneError) and _forget(stages, before):
            return
        folder = stages.run.workspace.options.data_dir
        reason = failed(stages.key, error, folder=folder).reason
        if is_outage(error, stages.key):
            _give_back(stages, reason, suspect=is_suspect(error))
        else:
            _note_failed(stages, reason)
        raise
    except BaseException:
        note_stopped(stages)
        raise


def _note_failed(stages: Stages, reason: str) -> None:
    """Note why the capture failed. A key that a person typed in the UI may have no record."""
    workspace = stages.run.workspace
    with suppress(*_NOT_OURS):
        if stages.early_load:
            workspace.ledger.check(stages.key)
            stages.early_load.remove()
        if stages.run.includes_load:
            workspace.ledger.fail(stages.key, reason)
            captures_table.copy(workspace, stages.key, counts=stages.counts, seconds=stages.seconds)


def _give_back(stages: Stages, outage: str, *, suspect: bool) -> None:
    """Return the capture to the queue after an outage; the ledger fails it after too many."""
    if stages.run.includes_load:
        workspace, key = stages.run.workspace, stages.key
        with suppress(*_NOT_OURS):
            state = workspace.ledger.give_back(key, outage=outage, suspect=suspect)
            if state is State.FAILED:
                captures_table.copy(workspace, key, counts=stages.counts, seconds=stages.seconds)


def note_stopped(stages: Stages) -> None:
    """Note that the run was stopped before the capture was loaded.

    If a person cancelled the run, the capture has failed. If the service stopped, the capture goes
    back to the queue.
    """
    if stages.run.observer.is_cancelled():
        _note_failed(stages, f"{stages.key}: its run was cancelled; launch it again")
    elif stages.run.includes_load:
        with suppress(*_NOT_OURS):
            stages.run.workspace.ledger.give_back(stages.key)


def _forget(stages: Stages, before: Record | None) -> bool:
    """Forget a capture whose file was deleted before it was read, as ring buffers do.

    Returns:
        Whether it had a record.
    """
    ledger, key = stages.run.workspace.ledger, stages.key
    if not stages.run.includes_load or ledger.get(key) is None:
        return False
    if ledger.file_deleted(key, before):
        log.info("%s: its file was deleted before it was read again; its rows stay", key)
    else:
        log.info("%s: its file was deleted before it was read; nothing of it is stored", key)
        stages.run.observer.capture_forgotten(key)
    return True
