"""Loads one capture again if its answers changed, or if an earlier release loaded it.

Rows are made of the typed packets, or of the documents. tshark runs again only for a capture that
an earlier release read and loaded, as its documents lack what rows show now.
"""

import time
from contextlib import closing
from datetime import datetime
from enum import Enum

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.enrichment import changes
from mt_pipeline.pipeline import captures_table
from mt_pipeline.pipeline.load import load_one
from mt_pipeline.pipeline.provenance import was_read_by
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.stable import stable
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline.pipeline.verdict import note_answers, note_done
from mt_pipeline.pipeline.versions import ROWS
from mt_pipeline.tshark.errors import TsharkError


class Outcome(Enum):
    """What a refresh did with a capture."""

    RELOADED = "loaded again"
    UNCHANGED = "unchanged"
    EXPIRED = "left: their packets have expired"
    LEFT = "left: it is not loaded now, or waits for another run"


def refresh_one(run: Run, key: str, *, as_of: datetime | None, keeps_day: bool) -> Outcome:
    """Load a capture again if its stored answers have changed.

    Also load it again if it takes up something else from the file before it in its rotation.

    Args:
        run: the run that it is part of.
        key: the capture key.
        as_of: take the answers of that moment; None for those of now.
        keeps_day: whether a capture with the answers of an earlier day keeps that day, unless its
            load broke off.
    """
    started, ledger = time.monotonic(), run.workspace.ledger
    with ledger.lock(key) as record:
        if record is None or record.state is not State.DONE or record.documents is None:
            return Outcome.LEFT
        if record.packets_expired_at is not None:
            return Outcome.EXPIRED
        if keeps_day and record.as_of and record.answers is not None:
            as_of = datetime.fromisoformat(record.as_of)
        with closing(
            Stages(run, key, inputs=record.documents, sha256=record.sha256 or "", cut=record.cut)
        ) as stages:
            _read_anew(stages, record)
            stages.derived.continue_rotation(default=record.follows)
            stages.answer(ask=False, as_of=as_of)
            answers = stages.files.enrichment(stages.inputs)
            same_packets = (stages.inputs, stages.files.follows) == (
                record.documents,
                record.follows,
            )
            if same_packets and stages.made_of == record.answers:
                note_answers(stages)
                captures_table.update_owed(run.workspace, record, changes.count_owed(answers))
                return Outcome.UNCHANGED
            if not same_packets:
                stages.find_endpoints()
            stages.report_answers(seconds=time.monotonic() - started)
            # A kill during the load leaves rows with old and with new answers.
            # Without a fingerprint, the next refresh loads the capture again.
            ledger.answered(key, answers=None, owed=record.owed)
            _load_again(run, stages)
    return Outcome.RELOADED


def _read_anew(stages: Stages, record: Record) -> None:
    """Have tshark and nDPI read the file if what they read before lacks something.

    Without the file, as it was loaded, the rows are made of what there is.
    """
    workspace = stages.run.workspace
    is_outdated = ROWS not in (record.answers or ROWS)
    if not (is_outdated or workspace.options.inspects):
        return
    try:
        capture, tshark = capture_at(workspace.inbox, record.key), workspace.tshark
    except (CaptureError, TsharkError):
        return
    if (capture.size, capture.mtime_ns) != (record.size, record.mtime_ns):
        return
    if is_outdated and not was_read_by(tshark, record):
        display_filter = record.filter or ""
        with stable(workspace, stages.files, capture) as file:
            stages.identify(file, display_filter)
            stages.read_documents(file, display_filter, derive=True, copy_of=None)
    elif workspace.options.inspects and stages.inspection.found(stages.inputs) is None:
        with stable(workspace, stages.files, capture) as file:
            stages.inspection.begin(file, stages.inputs)
            stages.inspection.wait()


def _load_again(run: Run, stages: Stages) -> None:
    load = load_one(run, stages.key, stages.sources())
    stages.report_rows(load)
    note_done(stages, load.loaded)
    captures_table.copy(
        run.workspace,
        stages.key,
        stored=load.stored,
        counts=stages.counts,
        seconds=stages.seconds,
    )
    run.workspace.ledger.check(stages.key)
    stages.files.keep_only(stages.inputs)
