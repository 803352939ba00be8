"""Reads a pcapng as a test wants it: by a parser of its own, and by tshark."""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline_tests.building.originals import Original


@dataclass(frozen=True)
class Read:
    """A frame of a file, with its comments and the name of its interface."""

    frame: Original
    comments: list[str]
    interface: str


@dataclass
class Pcapng:
    """What a little-endian pcapng of one section has."""

    frames: list[Read]
    secrets: list[bytes]
    interfaces: list[str]


def parse(path: Path) -> Pcapng:
    """Parse a file."""
    data, at = path.read_bytes(), 0
    described = list[tuple[int, int, int, str]]()
    found = Pcapng([], [], [])
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        body = data[at + 8 : at + length - 4]
        if kind == 1:
            link, _, _ = struct.unpack_from("<HHI", body)
            options = dict(_options(body[8:]))
            offset = int.from_bytes(options.get(14, bytes(8)), "little", signed=True)
            name = options[2].decode()
            described.append((link, 10 ** options[9][0], offset, name))
            found.interfaces.append(name)
        elif kind == 6:
            index, high, low, captured, wire = struct.unpack_from("<IIIII", body)
            link, unit, offset, name = described[index]
            time = offset * 10**9 + (high << 32 | low) * 10**9 // unit
            end = 20 + captured
            comments = [
                value.decode() for code, value in _options(body[end + -captured % 4 :]) if code == 1
            ]
            found.frames.append(Read(Original(body[20:end], time, wire, link), comments, name))
        elif kind == 10:
            found.secrets.append(body[8 : 8 + struct.unpack_from("<II", body)[1]])
        at += length
    return found


def tshark_fields(path: Path, *fields: str) -> list[list[str]]:
    """Have tshark print fields of each frame."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields"]
    command += [part for field in fields for part in ("-e", field)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or "cut short" in done.stderr, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def _options(data: bytes) -> list[tuple[int, bytes]]:
    found, at = list[tuple[int, bytes]](), 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, at)
        if not code:
            break
        found.append((code, data[at + 4 : at + 4 + length]))
        at += 4 + length + -length % 4
    return found
