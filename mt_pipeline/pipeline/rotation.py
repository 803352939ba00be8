"""Continues streams over the files of a rotation, if MT_ROTATION is set.

Each file takes up what the file before it leaves, and leaves its open streams to the next. A loaded
capture is behind if it took up something else than the file before it leaves now. `refresh.py`
loads such captures again. `packets/continuation.py` knows what a stream takes along.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.rotation import Handover, place_of
from mt_pipeline.packets import continuation, inheritance
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Left:
    """What a file left to the next one.

    Attributes:
        streams: those that may continue.
        files: of the file that left it.
        inputs: of its documents.
    """

    streams: pa.Table
    files: CaptureFiles
    inputs: str

    def said(self, kind: str) -> Path:
        """Return the statements of one of `inheritance.HANDED_ON`."""
        return self.files.left_said(self.inputs, kind)


@dataclass(frozen=True)
class Rotation:
    """The place of a capture in its rotation, if it is a file of one.

    Attributes:
        workspace: the data folder.
        key: the capture key.
    """

    workspace: Workspace
    key: str

    @property
    def has_next(self) -> bool:
        """Whether the capture may leave streams to a next file."""
        return self.workspace.options.rotation and place_of(self.key) is not None

    def taken_up(self, *, default: str = "") -> str:
        """Return the name of what the file before this one leaves now; empty for nothing.

        Args:
            default: returned if the file before is not loaded.
        """
        before = self._before()
        return default if before is None else before.leaves

    def left(self, taken_up: str) -> Left | None:
        """Find what the file before this one left under a name.

        Returns:
            None if the file before this one leaves something else now.
        """
        before = self._before()
        if before is None or not taken_up or before.leaves != taken_up:
            return None
        files = CaptureFiles(self.workspace.options.data_dir, before.key, before.follows)
        streams = continuation.read_left(files.left(before.documents or ""))
        return None if streams is None else Left(streams, files, before.documents or "")

    def handover(self, files: CaptureFiles, inputs: str) -> Handover:
        """Return what the capture took up, and what it leaves to the next file."""
        said = (files.left_said(inputs, kind) for kind in inheritance.HANDED_ON)
        leaves = continuation.fingerprint(files.left(inputs), *said) if self.has_next else ""
        return Handover(follows=files.follows, leaves=leaves)

    def _before(self) -> Record | None:
        """Return the record of the file before this one, if it is loaded."""
        rotates = self.workspace.options.rotation
        record = self.workspace.ledger.previous(self.key) if rotates else None
        return record if record and record.state is State.DONE else None


def behind(workspace: Workspace, rotations: Iterable[str] | None = None) -> dict[str, str]:
    """Return the keys of captures that are behind, in order, each with that of the file before.

    Args:
        workspace: the data folder.
        rotations: keys of captures, to look at their rotations alone; None for all.
    """
    return workspace.ledger.behind(rotations) if workspace.options.rotation else {}
