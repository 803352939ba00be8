"""Finds frames of a capture by their numbers. pcap and pcapng are read here, compressed ones too.

Anything else goes through editcap first, which gives the same frames in the same order. pcapng does
not: editcap 4.0 puts the frames of a second section on the interfaces of the first.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mt_pipeline.captures.first_bytes import codec_of
from mt_pipeline.captures.identity import open_file
from mt_pipeline.frames import pcap, pcapng
from mt_pipeline.frames.editcap import converted
from mt_pipeline.frames.models import Differs, Frame, FrameError, Secrets, Wanted
from mt_pipeline.frames.window import Decompressed, ReadsBlocks, Window
from mt_pipeline.tshark.limits import DEFAULT, Limits

_Reads = Callable[[Window, Iterator[int]], Iterator[Frame | Secrets]]
_HEAD_BYTES = 24
_CURE = "load the capture again, by `mt-pipeline ingest`"


def read(
    capture: Path, wanted: Iterable[Wanted], *, shown_as: str, limits: Limits = DEFAULT
) -> Iterator[Frame | Secrets]:
    """Yield the wanted frames of a capture in the order of their numbers, and its secrets.

    Each frame is compared with what is known of it: its time and its length.

    Args:
        capture: the file.
        wanted: frames, by ascending numbers.
        shown_as: what errors call it.
        limits: of editcap, if that must convert the file.

    Raises:
        FrameError: the message names the capture.
        OSError: the file cannot be read.
    """
    expected = _Expected(wanted)
    try:
        with _opened(capture, shown_as, limits) as (file, reads):
            yield from expected.check(reads(Window(file), expected.numbers()))
        expected.finish()  # after editcap has said why there are fewer frames
    except FrameError as error:
        raise type(error)(f"{shown_as}: {error}") from None


@contextmanager
def _opened(capture: Path, shown_as: str, limits: Limits) -> Iterator[tuple[ReadsBlocks, _Reads]]:
    """Open a capture as plain pcap or pcapng, and yield it with the function that reads it."""
    with open_file(capture, shown_as=shown_as) as file:
        codec = codec_of(file.read(_HEAD_BYTES))
    # Each is opened anew: Arrow closes the file of a stream that it no longer needs.
    with open_file(capture, shown_as=shown_as) as file:
        reads = _reads(_decompressed(file, codec).read(_HEAD_BYTES))
    if reads:
        with open_file(capture, shown_as=shown_as) as file:
            yield _decompressed(file, codec), reads
        return
    with converted(capture, limits) as output:
        yield output, pcapng.read


def _reads(head: bytes) -> _Reads | None:
    if pcap.begins(head):
        return pcap.read
    return pcapng.read if pcapng.begins(head) else None


def _decompressed(file: IO[bytes], codec: str | None) -> ReadsBlocks:
    return Decompressed(file, codec) if codec else file


class _Expected:
    """What is known of frames, a few at a time: as far as the reading is."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self._wanted = iter(wanted)
        self._ahead = deque[Wanted]()

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of the frames."""
        for wanted in self._wanted:
            self._ahead.append(wanted)
            yield wanted.number

    def check(self, found: Iterator[Frame | Secrets]) -> Iterator[Frame | Secrets]:
        """Yield what was found, and check that each frame is the one that is known.

        Raises:
            Differs: it is another.
        """
        for item in found:
            if isinstance(item, Frame):
                _check(item, self._ahead.popleft())
            yield item

    def finish(self) -> None:
        """Check that all frames were found.

        Raises:
            Differs: the capture has no frame of a number.
        """
        if missing := next(iter(self._ahead), None) or next(self._wanted, None):
            raise Differs(f"it has no frame {missing.number}: {_CURE}")


def _check(frame: Frame, wanted: Wanted) -> None:
    # tshark rounds times of other units than powers of ten.
    apart = 0 if wanted.time_us is None else abs(frame.time_ns // 1000 - wanted.time_us)
    if apart > 1 or wanted.wire_length not in (None, frame.wire_length):
        raise Differs(f"frame {frame.number} is not the packet of its row: {_CURE}")
