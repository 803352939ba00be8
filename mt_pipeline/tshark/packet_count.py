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

from mt_pipeline.captures.inbox import codec_of
from mt_pipeline.system.processes import bound, piped, stop
from mt_pipeline.tshark.command import CUT, DAMAGED, environment
from mt_pipeline.tshark.limits import USUAL, Limits, Watch, limited, wait, work_of

HEAD_BYTES = 64 * 2**20
"""Of a capture, and of what is decompressed from it: as much as is looked at to tell about how many packets it has."""

_HEAD_SECONDS = 60
"""Many times what that takes."""

_BLOCK_BYTES = 1 << 20
_SAID = re.compile(r"(\d+) packets? seen, (\d+) packets? skipped with duplicate window")


@dataclass(frozen=True)
class Counted:
    """What is in a capture.

    Attributes:
        packets: whole ones; None if that cannot be said.
        duplicates: packets with the same bytes as one of the four before, as mirror ports make them; None likewise.
        cut: whether the capture ends inside a packet.
    """

    packets: int | None = None
    duplicates: int | None = None
    cut: bool = False


@dataclass(frozen=True)
class Estimate:
    """About how many packets are in a capture.

    Attributes:
        packets: as many.
        exact: whether all were counted, and not those of its head alone.
    """

    packets: int
    exact: bool

    def __str__(self) -> str:
        """Say it to people."""
        return f"{self.packets:,}" if self.exact else f"about {self.packets:,}"


@contextmanager
def counting(capture: Path, limits: Limits = USUAL) -> Iterator[Callable[[], Counted]]:
    """Count the packets of a capture while other things are done; leaving the block ends the count.

    Args:
        capture: the file.
        limits: of the count; nothing is known if they are exceeded.

    Yields:
        What waits for the numbers.
    """
    program = shutil.which("editcap")
    if program is None:
        yield lambda: count_packets(capture, limits)
        return
    with tempfile.TemporaryFile() as said:
        command = bound(limited([program, "-d", str(capture.absolute()), os.devnull], limits))
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment(),
        )
        watch = Watch(limits, lambda: work_of(child.pid))

        def counted() -> Counted:
            if wait(child, watch) is None:
                return Counted()
            # It counts what it could write to another file, and refuses some captures for what is not a packet in them.
            return _counted(said) or count_packets(capture, limits)

        try:
            yield counted
        finally:
            stop(child, grace=0)


def count_packets(capture: Path, limits: Limits = USUAL) -> Counted:
    """Count the packets of a capture at once, in a third of the time, but not those that are there twice."""
    program = shutil.which("capinfos")
    if program is None:
        return Counted()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        command = bound(limited([program, "-Mcr", "-T", str(capture.absolute())], limits))
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=said, env=environment()
        )
        try:
            if wait(child, Watch(limits, lambda: work_of(child.pid))) is None:
                return Counted()
        finally:
            stop(child, grace=0)
        return _capinfos(_text(out), _text(said))


def estimate(capture: Path) -> Estimate | None:
    """Count the packets of the head of a capture, and tell from that how many there are in all.

    What that takes is bounded, whatever the capture says it is: a few seconds, and a block of memory.

    Returns:
        None if it cannot be told.

    Raises:
        OSError: the capture cannot be opened.
    """
    program = shutil.which("capinfos")
    if program is None:
        return None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            bound(limited([program, "-Mcr", "-T", "-"], USUAL)),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=said,
            env=environment(),
        )
        late = threading.Timer(_HEAD_SECONDS, child.kill)
        late.start()
        try:
            read, is_all = _feed(capture, piped(child.stdin))
            child.wait()
        finally:
            late.cancel()
            stop(child, grace=0)
        counted = _capinfos(_text(out), _text(said)).packets
    if counted is None:
        return None
    return Estimate(counted if is_all else counted * capture.stat().st_size // max(read, 1), is_all)


def _feed(capture: Path, pipe: IO[bytes]) -> tuple[int, bool]:
    """Write the head of a capture to a pipe, decompressed; returns how many of its bytes that took, and whether that was all."""
    import pyarrow as pa  # takes a third of a second: only for those who count

    with (
        capture.open("rb") as file,
        suppress(BrokenPipeError),
        pipe,
    ):  # it ends early where it cannot go on
        codec = codec_of(file.read(4))
        file.seek(0)
        head = _Head(file)
        stream = pa.CompressedInputStream(pa.PythonFile(head, "r"), codec) if codec else head
        written = 0
        with suppress(OSError):  # what is damaged ends there
            while written < HEAD_BYTES and (block := stream.read(_BLOCK_BYTES)):
                pipe.write(block)
                written += len(block)
            return head.taken, written < HEAD_BYTES and not head.is_short
    return head.taken, True


class _Head(io.RawIOBase):
    """The first HEAD_BYTES of a file, as a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.taken, self.is_short = file, 0, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        block = self._file.read(min(len(buffer), HEAD_BYTES - self.taken))
        buffer[: len(block)] = block
        self.taken += len(block)
        self.is_short = self.taken == HEAD_BYTES
        return len(block)


def _counted(said: IO[bytes]) -> Counted | None:
    text = _text(said)
    match = None if DAMAGED in text else _SAID.search(text)
    return Counted(int(match[1]), int(match[2]), CUT in text) if match else None


def _capinfos(out: str, said: str) -> Counted:
    """Read what capinfos says; a cut capture gives its whole packets and an error status."""
    match = re.search(r"\t(\d+)\s*$", out)
    return Counted(int(match[1]), cut=CUT in said) if match else Counted()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
