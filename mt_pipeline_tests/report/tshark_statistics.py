"""What tshark's own statistics (`-z`) say of a capture file, as numbers."""

import ipaddress
import re
import subprocess
from functools import cache
from pathlib import Path

from mt_pipeline_tests.pipelines import TSHARK


@cache
def statistics(capture: Path, what: str) -> str:
    """Ask tshark for a statistic; the file does not change afterwards."""
    return subprocess.run(
        [TSHARK, "-n", "-q", "-r", str(capture), "-z", what],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def hierarchy(capture: Path) -> list[tuple[tuple[str, ...], int, int]]:
    """Read the protocol hierarchy: of each place in it the way there from its root, bytes and packets."""
    found = []
    path: tuple[str, ...] = ()
    for indent, name, packets, size in re.findall(
        r"^( *)(\S+) +frames:(\d+) bytes:(\d+)$", statistics(capture, "io,phs"), re.MULTILINE
    ):
        path = (*path[: len(indent) // 2], name)
        found.append((path, int(size), int(packets)))
    return found


def is_public(address: str) -> bool:
    """Say whether an address is globally reachable, and of one host."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_global and not parsed.is_multicast
