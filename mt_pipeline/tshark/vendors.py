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

_ENTRY = re.compile(
    r"^((?:[0-9A-F]{2}[:-]){2,5}[0-9A-F]{2})(?:/(\d+))?\t+(.*)", re.IGNORECASE | re.MULTILINE
)
_FOLDER = re.compile(r"^Global configuration:\s*(.*)$", re.MULTILINE)
_PRINTS = (4, 2)
"""The first release that prints the list."""

_BESIDE = Path("share/wireshark/manuf")
"""Where the list of older releases is, below the folder that has `bin`."""

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
            lines = sorted(_entries(_list_of(tshark)))
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


def _list_of(tshark: Tshark) -> str:
    """Return the list; a start of tshark, for which there is no need, takes 0.2 s."""
    if tuple(map(int, tshark.version.split(".")))[:2] >= _PRINTS:
        return run([tshark.program, "-G", "manuf"]).stdout
    beside = Path(tshark.program).resolve().parent.parent / _BESIDE
    try:
        return (beside if beside.exists() else _asked_for(tshark)).read_text("utf-8", "replace")
    except OSError:
        return ""


def _asked_for(tshark: Tshark) -> Path:
    folder = _FOLDER.search(run([tshark.program, "-G", "folders"]).stdout)
    return Path(folder[1] if folder else "/nonexistent") / "manuf"


def _entries(text: str) -> set[str]:
    entries = set()
    for address, bits, names in _ENTRY.findall(text):
        digits = address.replace(":", "").replace("-", "").lower()
        length = int(bits or 4 * len(digits)) // 4
        vendor = names.rpartition("\t")[2].partition("#")[0].strip()
        if length in _DIGITS and vendor:
            entries.add(f"{digits[:length]}\t{vendor}")
    return entries
