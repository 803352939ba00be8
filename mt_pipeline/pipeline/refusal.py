"""Refuses a file before tshark reads it. Names are refused in `captures/naming.py`."""

from collections.abc import Callable

from mt_pipeline.captures.first_bytes import sniff
from mt_pipeline.captures.identity import Capture, check_unchanged
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.options import Options
from mt_pipeline.tshark.packet_count import Estimate


class NotACaptureError(CaptureError):
    """The file does not begin like a capture."""


def check_readable(
    options: Options, capture: Capture, count: Callable[[], Estimate | None]
) -> None:
    """Refuse a file that is no capture, or for which the machine has too little memory.

    Raises:
        NotACaptureError: it does not begin like a capture.
        TooLargeError: tshark would need far more memory than the machine has.
        CaptureError: it cannot be read, or has changed.
    """
    # tshark takes an empty file, and some text files, for captures.
    if reason := sniff(capture):
        check_unchanged(capture)
        raise NotACaptureError(reason)
    capacity.check_memory(options, capture, count)
