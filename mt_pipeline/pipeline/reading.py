"""Has tshark read a capture into documents, as long as there is room for them on the disk."""

from collections.abc import Callable
from pathlib import Path

from mt_pipeline.captures.identity import Capture, CaptureError, check_unchanged
from mt_pipeline.packets.conversations import Conversations
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import TsharkError
from mt_pipeline.tshark.packet_count import Estimate

_LONG = 5_000_000
"""Bytes of a capture that takes seconds to read: to count its packets beforehand takes a hundredth of that."""


def write_documents(
    workspace: Workspace,
    capture: Capture,
    path: Path,
    *,
    display_filter: str,
    listener: Conversations | None,
    count: Callable[[], Estimate | None],
) -> int:
    """Write the documents of a capture.

    Args:
        workspace: the data folder.
        capture: the file.
        path: of the documents, named after what makes them.
        display_filter: only packets that match become documents.
        listener: takes in the packets as tshark prints them.
        count: estimates the packets of the capture; called only if that matters.

    Returns:
        The number of packets.

    Raises:
        NoRoomError: there is not enough room on the disk, or not any more.
        TsharkError: tshark cannot read the capture.
        CaptureError: it changed meanwhile.
    """
    key = capture.key
    capacity.check(workspace.options, capture, count)
    room = capacity.Room(workspace.options, key)
    total = _expected_packets(capture, display_filter, count)
    report = workspace.pace(key, "reading", "packets", total)

    def progress(packets: int) -> None:
        room.check(packets)
        report(packets)

    try:
        packets = documents.write(
            workspace.tshark,
            capture.path,
            path,
            called=workspace.inbox / key,  # a capture that grows is read from a copy
            display_filter=display_filter,
            listener=listener,
            progress=progress,
        )
    except TsharkError:
        check_unchanged(capture)  # tshark is right about a file that is gone
        raise
    try:
        check_unchanged(capture)
    except CaptureError:
        path.unlink()  # it is named after the content that the capture had before
        raise
    return packets


def _expected_packets(
    capture: Capture, display_filter: str, count: Callable[[], Estimate | None]
) -> int | None:
    """Estimate the packets that will be read, if that takes so long that people want to know how long."""
    if display_filter or capture.size < _LONG:
        return None
    estimate = count()
    return estimate.packets if estimate else None
