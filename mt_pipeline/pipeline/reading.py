"""Reads a capture into documents with tshark, while there is room on the disk."""

from collections.abc import Callable
from pathlib import Path

from mt_pipeline.captures.identity import Capture, check_unchanged
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.errors import TsharkError
from mt_pipeline.tshark.packet_count import Estimate

_LONG = 5_000_000
"""Bytes of a capture that takes seconds to read. To count its packets takes a hundredth of that."""


def write_documents(
    workspace: Workspace,
    capture: Capture,
    path: Path,
    *,
    display_filter: str,
    listener: documents.Listener | None,
    count: Callable[[], Estimate | None],
) -> int:
    """Write the documents of a capture.

    Args:
        workspace: the data folder.
        capture: the file.
        path: where to write the documents.
        display_filter: only packets that match become documents.
        listener: receives the packets while tshark prints them.
        count: estimates the packets of the capture; called only if the number is needed.

    Returns:
        The number of packets.

    Raises:
        NoRoomError: there is too little room on the disk.
        TsharkError: tshark cannot read the capture.
        CaptureError: the capture changed while tshark read it.
    """
    key = capture.key
    capacity.check(workspace.options, capture, count)
    total = _expected_packets(capture, display_filter, count)
    try:
        packets = documents.write(
            workspace.tshark,
            capture.path,
            path,
            shown_as=_shown_as(workspace, key),
            display_filter=display_filter,
            listener=listener,
            progress=_progress(workspace, key, total),
        )
    except TsharkError:
        check_unchanged(capture)  # a file that was deleted or replaced is no fault of tshark
        raise
    try:
        check_unchanged(capture)
    except CaptureError:
        path.unlink()  # its name is the hash of the old content
        raise
    return packets


def _shown_as(workspace: Workspace, key: str) -> Path:
    """Return what errors call a capture that may be read from a copy."""
    inbox = workspace.inbox
    return inbox / key if isinstance(inbox, Path) else Path(key)


def _progress(workspace: Workspace, key: str, total: int | None) -> Callable[[int], None]:
    """Return a function that reports the packets so far, and stops when the disk gets full."""
    room = capacity.Room(workspace.options, key)
    report = workspace.pace(key, "reading", "packets", total)

    def progress(packets: int) -> None:
        room.check(packets)
        report(packets)

    return progress


def _expected_packets(
    capture: Capture, display_filter: str, count: Callable[[], Estimate | None]
) -> int | None:
    """Estimate the packets of a large capture, to show how much of it is read."""
    if display_filter or capture.size < _LONG:
        return None
    estimate = count()
    return estimate.packets if estimate else None
