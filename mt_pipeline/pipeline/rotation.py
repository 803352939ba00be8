"""Captures that are files of one rotation, if MT_ROTATION says so: what each takes up from the file before, and leaves to the next.

Nothing is marked: a loaded capture is behind if what it took up is not what the file before it leaves now, whichever was
loaded first. What streams take along is `packets/continuation.py`; `refresh.py` brings captures up to date that are behind.
"""

from dataclasses import dataclass

import pyarrow as pa

from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.rotation import Handover, place_of
from mt_pipeline.packets import continuation
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Rotation:
    """The rotation that a capture may be a file of.

    Attributes:
        workspace: the data folder.
        key: the capture key.
    """

    workspace: Workspace
    key: str

    @property
    def has_next(self) -> bool:
        """Whether the capture may leave something to another one."""
        return self.workspace.options.rotation and place_of(self.key) is not None

    def taken_up(self, *, default: str = "") -> str:
        """Return the name of what the file before this one leaves now; empty if that is nothing.

        Args:
            default: is returned if nothing is known of the file before.
        """
        before = self._before()
        return default if before is None else before.leaves

    def streams(self, taken_up: str) -> pa.Table | None:
        """Read the streams that the file before this one left under a name; None if that is not what it leaves any more."""
        before = self._before()
        if before is None or not taken_up or before.leaves != taken_up:
            return None
        files = CaptureFiles(self.workspace.options.data_dir, before.key, before.follows)
        return continuation.read_left(files.left(before.documents or ""))

    def handover(self, files: CaptureFiles, inputs: str) -> Handover:
        """Return what the capture took up, and what it leaves."""
        leaves = continuation.fingerprint(files.left(inputs)) if self.has_next else ""
        return Handover(follows=files.follows, leaves=leaves)

    def _before(self) -> Record | None:
        """Return the record of the file before this one, if it is loaded."""
        rotates = self.workspace.options.rotation
        record = self.workspace.ledger.previous(self.key) if rotates else None
        return record if record and record.state is State.DONE else None


def behind(workspace: Workspace) -> dict[str, str]:
    """Find the loaded captures that are behind, with the key of the file before each, in the order of their rotations."""
    return workspace.ledger.behind() if workspace.options.rotation else {}
