"""Counting the packets of a capture without dissecting them."""

import io
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mt_pipeline.captures.first_bytes import codec_of
from mt_pipeline.captures.identity import open_file
from mt_pipeline.system.processes import bound, piped, stop
from mt_pipeline.tshark.limits import DEFAULT, Limits, Watch, limited, wait, work_of
from mt_pipeline.tshark.programs import CUT, DAMAGED, environment, printed

HEAD_BYTES = 64 * 2**20
"""Of a capture, and of what is decompressed from it: the part that an estimate reads."""

HEAD_SECONDS = 60
"""Many times what that takes."""

_BLOCK_BYTES = 1 << 20
_SEEN = re.compile(r"(\d+) packets? seen, (\d+) packets? skipped with duplicate window")


@dataclass(frozen=True)
class Counted:
    """What is in a capture.

    Attributes:
        packets: complete ones; None if unknown.
        duplicates: packets with the same bytes as one of the four before, as mirror ports make
            them; None if unknown.
        cut: whether the capture ends inside a packet.
    """

    packets: int | None = None
    duplicates: int | None = None
    cut: bool = False


@dataclass(frozen=True)
class Estimate:
    """About how many packets are in a capture.

    Attributes:
        packets: their number.
        exact: whether all were counted, and not only those of its head.
    """

    packets: int
    exact: bool

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.packets:,}" if self.exact else f"about {self.packets:,}"


@contextmanager
def counting(capture: Path, limits: Limits = DEFAULT) -> Iterator[Callable[[], Counted]]:
    """Count the packets of a capture in the background; the count ends with the block.

    Args:
        capture: the file.
        limits: of the count, which is unknown if they are exceeded.

    Yields:
        A function that waits for the count and returns it.
    """
    program = shutil.which("editcap")
    if program is None:
        yield lambda: count_packets(capture, limits)
        return
    with tempfile.TemporaryFile() as errors:
        command = bound(limited([program, "-d", str(capture.absolute()), os.devnull], limits))
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment(),
            start_new_session=True,
        )
        watch = Watch(limits, lambda: work_of(child.pid))

        def counted() -> Counted:
            if wait(child, watch) is None:
                return Counted()
            # editcap refuses some captures because of blocks that are no packets.
            return _editcap(_text(errors, capture)) or count_packets(capture, limits)

        try:
            yield counted
        finally:
            stop(child, grace=0)


def count_packets(capture: Path, limits: Limits = DEFAULT) -> Counted:
    """Count the packets of a capture, but not its duplicates, in a third of the time."""
    program = shutil.which("capinfos")
    if program is None:
        return Counted()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        command = bound(limited([program, "-Mcr", "-T", str(capture.absolute())], limits))
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env=environment(),
            start_new_session=True,
        )
        try:
            if wait(child, Watch(limits, lambda: work_of(child.pid))) is None:
                return Counted()
        finally:
            stop(child, grace=0)
        return _capinfos(_text(out, capture), _text(errors, capture))


def estimate(
    capture: Path, *, head_bytes: int = HEAD_BYTES, seconds: float = HEAD_SECONDS
) -> Estimate | None:
    """Count the packets of the head of a capture, and extrapolate to all of it.

    The cost is bounded, whatever the capture claims to be: a few seconds, and a block of memory.

    Args:
        capture: the file.
        head_bytes: length of the head, of the capture and of what is decompressed from it.
        seconds: after which the count ends.

    Returns:
        None if it is unknown.

    Raises:
        OSError: the capture cannot be opened.
    """
    program = shutil.which("capinfos")
    if program is None:
        return None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            bound(limited([program, "-Mcr", "-T", "-"], DEFAULT)),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
            env=environment(),
            start_new_session=True,
        )
        late = threading.Timer(seconds, child.kill)
        late.start()
        try:
            read, is_all = _feed(capture, piped(child.stdin), head_bytes)
            child.wait()
        finally:
            late.cancel()
            stop(child, grace=0)
        counted = _capinfos(_text(out, capture), _text(errors, capture)).packets
    if counted is None:
        return None
    return Estimate(counted if is_all else counted * capture.stat().st_size // max(read, 1), is_all)


def _feed(capture: Path, pipe: IO[bytes], head_bytes: int) -> tuple[int, bool]:
    """Write the head of a capture to a pipe, decompressed.

    Returns:
        How many bytes of the capture were read, and whether that was all of it.
    """
    import pyarrow as pa  # takes a third of a second, so only for an estimate

    # The reader ends early where it cannot continue.
    with suppress(BrokenPipeError), pipe, open_file(capture, shown_as=str(capture)) as file:
        codec = codec_of(file.read(4))
        file.seek(0)
        head = _Head(file, head_bytes)
        stream = pa.CompressedInputStream(pa.PythonFile(head, "r"), codec) if codec else head
        written = 0
        with suppress(OSError):  # damaged bytes end it
            while written < head_bytes and (block := stream.read(_BLOCK_BYTES)):
                pipe.write(block)
                written += len(block)
            return head.taken, written < head_bytes and not head.is_short
    return head.taken, True


class _Head(io.RawIOBase):
    """The first bytes of a file, as a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size, self.taken, self.is_short = file, size, 0, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        block = self._file.read(min(len(buffer), self._size - self.taken))
        buffer[: len(block)] = block
        self.taken += len(block)
        self.is_short = self.taken == self._size
        return len(block)


def _editcap(stderr: str) -> Counted | None:
    match = None if DAMAGED in stderr else _SEEN.search(stderr)
    return Counted(int(match[1]), int(match[2]), CUT in stderr) if match else None


def _capinfos(out: str, stderr: str) -> Counted:
    """Parse the output of capinfos; it counts the complete packets of a cut capture."""
    match = re.search(r"\t(\d+)\s*$", out)
    return Counted(int(match[1]), cut=CUT in stderr) if match else Counted()


def _text(file: IO[bytes], capture: Path) -> str:
    file.seek(0)
    return printed(file.read(), str(capture.absolute()))
