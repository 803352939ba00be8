"""tshark's own statistics (`-z`) of a capture file, as numbers."""

import ipaddress
import re
import subprocess
from functools import cache
from pathlib import Path

from mt_pipeline_tests.pipelines import TSHARK


@cache
def statistics(capture: Path, what: str) -> str:
    """Return a statistic of tshark. Results are cached, so the file must not change."""
    return subprocess.run(
        [TSHARK, "-n", "-q", "-r", str(capture), "-z", what],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def hierarchy(capture: Path) -> list[tuple[tuple[str, ...], int, int]]:
    """Read the protocol hierarchy: path from the root, bytes and packets of each entry."""
    result = []
    path: tuple[str, ...] = ()
    for indent, name, packets, size in re.findall(
        r"^( *)(\S+) +frames:(\d+) bytes:(\d+)$", statistics(capture, "io,phs"), re.MULTILINE
    ):
        path = (*path[: len(indent) // 2], name)
        result.append((path, int(size), int(packets)))
    return result


def is_public(address: str) -> bool:
    """Return whether an address is globally reachable and no multicast group."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_global and not parsed.is_multicast
