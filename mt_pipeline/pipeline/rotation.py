"""Captures that are files of one rotation, if MT_ROTATION says that they belong together: which one goes on where another one ended.

Nothing is marked: a loaded capture is behind if what it took up is not what the file before it leaves now, whatever was loaded first, or killed.
What streams take along is `packets/continuation.py`; how captures that are behind are brought up to date is `refresh.py`.
"""

import pyarrow as pa

from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.rotation import place_of
from mt_pipeline.packets import continuation
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Pipeline


def rotates(pipeline: Pipeline, key: str) -> bool:
    """Say whether a capture may leave something to another one."""
    return pipeline.settings.rotation and place_of(key) is not None


def before(pipeline: Pipeline, key: str) -> Record | None:
    """Return the record of the file before this one, if it is loaded and they belong together."""
    record = pipeline.ledger.before(key) if pipeline.settings.rotation else None
    return record if record and record.state is State.DONE else None


def left(pipeline: Pipeline, key: str, *, follows: str) -> pa.Table | None:
    """Read what the file before this one left, if that still is what it leaves."""
    record = before(pipeline, key)
    if record is None or not follows or record.leaves != follows:
        return None
    files = CaptureFiles(pipeline.settings.data_dir, record.key, record.follows)
    return continuation.read_left(files.left(record.documents or ""))


def behind(pipeline: Pipeline) -> dict[str, str]:
    """Find the loaded captures that are behind, with the key of the file before each; in the order of their rotations."""
    return pipeline.ledger.behind() if pipeline.settings.rotation else {}
