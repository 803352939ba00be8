"""A capture as a file that stays as it is while programs read it: itself, or a copy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mt_pipeline.captures.growing import is_growing, snapshot
from mt_pipeline.captures.identity import Capture
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.system import scratch
from mt_pipeline.tshark.packet_count import estimate


@contextmanager
def stable(workspace: Workspace, files: CaptureFiles, capture: Capture) -> Iterator[Capture]:
    """Yield the capture; if it still grows or is an object, yield a copy that exists until the end.

    Args:
        workspace: the data folder.
        files: those of the capture, whose lock the caller has.
        capture: the capture.

    Raises:
        NoRoomError: the disk has no room for a copy.
        CaptureError: it was deleted or has changed, or may not be read.
        InboxError: the store cannot be asked.
    """
    options = workspace.options
    if not isinstance(capture.inbox, Path):
        capacity.check_copy(options, capture)
        workspace.progress(capture.key, "copying", 0)
    elif options.follow and is_growing(capture, settle=options.settle_seconds):
        capacity.check(options, capture, lambda: estimate(capture.path), copied=True)
    else:
        yield capture
        return
    with snapshot(capture, scratch.near(files.workplace)) as copy:
        yield copy
