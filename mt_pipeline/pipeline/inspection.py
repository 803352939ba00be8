"""nDPI's reading of one capture, in the background of tshark's, if the settings ask for it."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mt_pipeline.captures.identity import Capture
from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class Inspection:
    """What nDPI finds in a capture; nothing else depends on it. The caller closes it.

    Args:
        workspace: the data folder.
        files: the files of the capture.
    """

    def __init__(self, workspace: Workspace, files: CaptureFiles) -> None:
        self._workspace, self._files = workspace, files
        self._wait: Callable[[], None] | None = None
        self._open = ExitStack()

    def begin(self, capture: Capture, inputs: str) -> None:
        """Have nDPI read the capture, unless it has; `wait` must follow.

        Args:
            capture: the file.
            inputs: the hash of all that its documents are made of.
        """
        output = self._files.inspections(inputs) if self._workspace.options.inspects else None
        if output and not output.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            self._wait = self._open.enter_context(
                inspections.inspecting(capture.path, output, self._workspace.limits)
            )

    def wait(self) -> None:
        """Wait until nDPI has read the capture, if it does."""
        if self._wait:
            try:
                self._wait()
            except inspections.NotInspected as error:
                log.warning("%s: %s; it has no applications of ndpi", self._files.key, error)
            self.close()

    def found(self, inputs: str) -> Path | None:
        """Return the file of what nDPI found; None if that is not known, or not wanted."""
        if not self._workspace.options.inspects:
            return None
        path = self._files.inspections(inputs)
        return path if path.exists() else None

    def close(self) -> None:
        """End the reading."""
        self._wait = None
        self._open.close()
