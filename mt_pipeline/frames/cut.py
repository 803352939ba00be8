"""Copies frames of any number of captures into one pcapng, in the order of time.

Memory is bounded: each capture is read once, block by block, and what does not fit is sorted on
disk, near the output.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mt_pipeline.frames import writer
from mt_pipeline.frames.models import Frame, Interface, Secrets, Wanted
from mt_pipeline.frames.reader import read
from mt_pipeline.frames.sorting import Sorter
from mt_pipeline.system import scratch
from mt_pipeline.tshark.limits import DEFAULT, Limits

_STEP = 1000
"""Frames after which progress is told."""
_COPY_BYTES = 1 << 20

Progress = Callable[[str, int, int], None]
"""Receives the name of a capture, how many of its frames are read, and of how many."""


@dataclass(frozen=True)
class Source:
    """A capture, and the frames to take of it.

    Attributes:
        name: what comments and interfaces call it: its capture key.
        path: the file.
        wanted: the frames, by ascending numbers.
        count: how many these are.
    """

    name: str
    path: Path
    wanted: Iterable[Wanted]
    count: int


@dataclass(frozen=True)
class Written:
    """What a file has.

    Attributes:
        frames: their number.
        bytes: of these frames, as they were captured.
        captures: how many captures they are from.
        link_types: frames by LINKTYPE_… number; `link_types.py` says what several mean.
    """

    frames: int
    bytes: int
    captures: int
    link_types: Mapping[int, int]


def write(
    sources: Iterable[Source],
    output: Path,
    *,
    application: str,
    comment: str,
    limits: Limits = DEFAULT,
    progress: Progress = lambda *_: None,
) -> Written:
    """Write the frames of captures to a file.

    Args:
        sources: the captures; each is read once, when it is its turn.
        output: the file, which is written when all captures are read.
        application: what made it.
        comment: what it is.
        limits: of editcap, if that must convert a capture.
        progress: receives how far it is.

    Raises:
        FrameError: a capture does not have what is wanted; nothing was written then.
        OSError: a file cannot be read or written.
    """
    folder = scratch.near(output.parent)
    with Sorter(folder) as sorter, tempfile.TemporaryFile(dir=folder) as keys:
        reading = _Reading(sorter, keys)
        for place, source in enumerate(sources):
            reading.take(place, source, limits, progress)
        with output.open("wb") as file:
            writer.section(file, application=application, comment=comment)
            for described, name in reading.interfaces:
                writer.interface(file, described, name=name)
            keys.seek(0)
            while block := keys.read(_COPY_BYTES):
                file.write(block)
            for block in sorter.blocks():
                file.write(block)
    return reading.written


@dataclass
class _Reading:
    """What was read so far: frames are in the sorter, secrets in a file."""

    sorter: Sorter
    keys: IO[bytes]
    interfaces: list[tuple[Interface, str]] = field(default_factory=list)
    link_types: Counter[int] = field(default_factory=Counter)
    frames: int = 0
    bytes: int = 0
    captures: int = 0

    def take(self, place: int, source: Source, limits: Limits, progress: Progress) -> None:
        """Read a capture."""
        self.captures += 1
        numbers: dict[Interface, int] = {}
        done = 0
        for item in read(source.path, source.wanted, shown_as=source.name, limits=limits):
            if isinstance(item, Secrets):
                writer.secrets(self.keys, item)
                continue
            if item.interface not in numbers:
                numbers[item.interface] = len(self.interfaces)
                name = f"{source.name}: {item.interface.name}".removesuffix(": ")
                self.interfaces.append((item.interface, name))
            self._add(item, place, numbers[item.interface], source.name)
            done += 1
            if done % _STEP == 0:
                progress(source.name, done, source.count)
        progress(source.name, done, source.count)

    def _add(self, frame: Frame, place: int, interface: int, name: str) -> None:
        block = writer.block_of(frame, interface=interface, comment=f"{name}, frame {frame.number}")
        self.sorter.add(frame.time_ns, place, frame.number, block)
        self.link_types[frame.interface.link_type] += 1
        self.frames += 1
        self.bytes += len(frame.data)

    @property
    def written(self) -> Written:
        """What the file has."""
        return Written(self.frames, self.bytes, self.captures, dict(self.link_types))
