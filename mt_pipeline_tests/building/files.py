"""Capture files from frames: pcap, pcapng, compressed, cut. The other modules make the frames.

They are written with `struct` because libraries cannot write the times that we need: before 1970,
beyond 2262 and 9999, none at all.
"""

import gzip
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

ETHERNET, NULL_LOOPBACK, RAW_IP, LINUX_COOKED = 1, 0, 101, 113
START_NS = 1_700_000_000_123_456_789
"""2023-11-14 22:13:20.123456789 UTC."""

_SECOND = 10**9


@dataclass(frozen=True)
class Frame:
    """One captured frame.

    Attributes:
        data: the bytes that were captured.
        time_ns: nanoseconds since 1970, any sign and size; None for no time at all (pcapng only).
        wire_length: bytes on the wire; None if all were captured.
        link_type: its own link type (pcapng only); None for the file's.
    """

    data: bytes
    time_ns: int | None
    wire_length: int | None = None
    link_type: int | None = None


def timed(
    frames: Iterable[bytes],
    *,
    start_ns: int = START_NS,
    step_ns: int = 1_000_003,
    link_type: int | None = None,
) -> list[Frame]:
    """Give frames their times, `step_ns` apart."""
    return [
        Frame(data, start_ns + index * step_ns, link_type=link_type)
        for index, data in enumerate(frames)
    ]


def write_pcap(
    path: Path,
    frames: Iterable[Frame],
    *,
    nanoseconds: bool = True,
    link_type: int = ETHERNET,
    big_endian: bool = False,
    snaplen: int = 262_144,
) -> Path:
    """Write a pcap file.

    Raises:
        ValueError: a frame has a link type of its own, or a time beyond 32 bits of seconds.
    """
    order, magic, unit = (
        ">" if big_endian else "<",
        0xA1B23C4D if nanoseconds else 0xA1B2C3D4,
        1 if nanoseconds else 1_000,
    )
    with path.open("wb") as file:
        file.write(struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type))
        for frame in frames:
            if (
                frame.time_ns is None
                or not 0 <= frame.time_ns < 2**32 * _SECOND
                or frame.link_type not in (None, link_type)
            ):
                raise ValueError(
                    f"pcap cannot hold the time {frame.time_ns} or the link type "
                    f"{frame.link_type} of a frame: write pcapng"
                )
            seconds, rest = divmod(frame.time_ns, _SECOND)
            data = frame.data[:snaplen]
            file.write(
                struct.pack(f"{order}IIII", seconds, rest // unit, len(data), _wire_length(frame))
                + data
            )
    return path


def write_pcapng(
    path: Path,
    frames: Iterable[Frame],
    *,
    link_type: int = ETHERNET,
    tsresol: int = 9,
    tsoffset: int = 0,
    snaplen: int = 262_144,
    between: Sequence[tuple[int, bytes]] = (),
) -> Path:
    """Write a pcapng file with one interface per link type.

    A time is stored as unsigned 64 bits since `tsoffset`. Years before 1970 need a negative offset,
    those beyond 2554 a coarser resolution or an offset.

    Args:
        path: the file.
        frames: in their order.
        link_type: of frames that name none.
        tsresol: as in the format: 10**tsresol ticks a second, or 2**(tsresol - 128) from 128 on.
        tsoffset: seconds since 1970 at which the ticks begin.
        snaplen: most bytes stored of a frame.
        between: blocks that are written before each frame: their types and bodies.

    Raises:
        struct.error: if a time does not fit.
    """
    frames = list(frames)
    link_types = list(
        dict.fromkeys(
            [link_type, *(frame.link_type for frame in frames if frame.link_type is not None)]
        )
    )
    per_second = 2 ** (tsresol - 128) if tsresol >= 128 else 10**tsresol
    with path.open("wb") as file:
        _block(file, 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        for kind in link_types:
            options = (
                struct.pack("<HHB3x", 9, 1, tsresol)
                + struct.pack("<HHq", 14, 8, tsoffset)
                + bytes(4)
            )
            _block(file, 1, struct.pack("<HHI", kind, 0, snaplen) + options)
        for frame in frames:
            for kind, body in between:
                _block(file, kind, body)
            data = frame.data[:snaplen]
            if (
                frame.time_ns is None
            ):  # a simple packet block: no time, always of the first interface
                _block(file, 3, struct.pack("<I", _wire_length(frame)) + data)
                continue
            interface = 0 if frame.link_type is None else link_types.index(frame.link_type)
            ticks = (frame.time_ns - tsoffset * _SECOND) * per_second // _SECOND
            high_low = struct.unpack("<II", struct.pack("<Q", ticks))
            _block(
                file,
                6,
                struct.pack(
                    "<IIIII", interface, *reversed(high_low), len(data), _wire_length(frame)
                )
                + data,
            )
    return path


def compress(path: Path, how: str) -> Path:
    """Compress a file with `gzip`, `zstd` or `lz4` (frame format) to a file next to it.

    `x.pcap` becomes `x.pcap.gz`, `.zst` or `.lz4`.
    """
    data = path.read_bytes()
    ending = {"gzip": ".gz", "zstd": ".zst", "lz4": ".lz4"}[how]
    small = (
        gzip.compress(data, mtime=0)
        if how == "gzip"
        else pa.compress(data, codec=how, asbytes=True)
    )
    target = path.with_name(path.name + ending)
    target.write_bytes(small)
    return target


def cut(path: Path, drop_bytes: int) -> Path:
    """Copy a file without its last bytes, next to it; `x.pcap` becomes `x-cut.pcap`."""
    target = path.with_stem(path.stem + "-cut")
    target.write_bytes(path.read_bytes()[:-drop_bytes])
    return target


def in_time_order(
    conversations: Sequence[Sequence[bytes]], *, start_ns: int = START_NS, step_ns: int = 1_000_003
) -> list[Frame]:
    """Interleave conversations, one frame of each in turn, and give them their times."""
    longest = max(map(len, conversations))
    mixed = (
        frames[index] for index in range(longest) for frames in conversations if index < len(frames)
    )
    return timed(mixed, start_ns=start_ns, step_ns=step_ns)


def _wire_length(frame: Frame) -> int:
    return len(frame.data) if frame.wire_length is None else frame.wire_length


def _block(file: BinaryIO, kind: int, body: bytes) -> None:
    length = struct.pack("<I", 12 + (len(body) + 3) // 4 * 4)
    file.write(struct.pack("<I", kind) + length + body + bytes(-len(body) % 4) + length)
