"""Vendors of hardware addresses, of the list that Wireshark has of the registry of IEEE.

Newer versions of tshark print the list, older ones have it as a file. To ask tshark for the vendor
of each packet would take time.
"""

import re
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path
from typing import Self

from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.programs import run

_ENTRY = re.compile(r"((?:[0-9A-F]{2}[:-]){2,5}[0-9A-F]{2})(?:/(\d+))?\t+(.*)", re.IGNORECASE)
_FOLDER = re.compile(r"^Global configuration:\s*(.*)$", re.MULTILINE)
_DIGITS = (9, 7, 6)
"""Hexadecimal digits of the blocks that IEEE assigns, the smallest block first."""


class Vendors:
    """Finds the vendor of a hardware address.

    Args:
        lines: sorted, each with the first digits of addresses, a tab and a vendor.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.of = lru_cache(maxsize=10_000)(self._find)

    @classmethod
    def read(cls, tshark: Tshark, folder: Path) -> Self:
        """Read the list of a tshark, which is kept in a folder, as tshark takes long to print it.

        Raises:
            TsharkError: tshark does not start.
            OSError: the list cannot be written.
        """
        path = folder / f"vendors-{tshark.version}.txt"
        if not path.exists():
            lines = sorted(_entries(_printed(tshark.program)))
            with whole(path) as partial:
                partial.write_text("\n".join(lines), encoding="utf-8")
        return cls(path.read_text(encoding="utf-8").split("\n"))

    def _find(self, hardware: str) -> str | None:
        digits = hardware.replace(":", "")
        for length in _DIGITS:
            start = f"{digits[:length]}\t"
            place = bisect_left(self._lines, start)
            if self._lines[place : place + 1] and self._lines[place].startswith(start):
                return self._lines[place].removeprefix(start)
        return None


def _printed(program: str) -> str:
    printed = run([program, "-G", "manuf"])
    if printed.returncode == 0 and printed.stdout:
        return printed.stdout
    folder = _FOLDER.search(run([program, "-G", "folders"]).stdout)
    try:
        return (Path(folder[1]) / "manuf").read_text("utf-8", "replace") if folder else ""
    except OSError:
        return ""


def _entries(text: str) -> set[str]:
    entries = set()
    for line in text.splitlines():
        if match := _ENTRY.match(line):
            digits = re.sub("[:-]", "", match[1]).lower()
            length = int(match[2] or 4 * len(digits)) // 4
            vendor = match[3].split("\t")[-1].partition("#")[0].strip()
            if length in _DIGITS and vendor:
                entries.add(f"{digits[:length]}\t{vendor}")
    return entries
