"""The history of the ratios: `make bench` appends them to the table in docs/benchmarks.md."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from mt_pipeline.settings import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
"""Its last lines are the table, so a line can be appended."""

_CPUS = Path("/proc/cpuinfo")


def append(what: str, candidate: str, *, ratio: float, processor: float, page: Path = PAGE) -> None:
    """Append a line to the table.

    Args:
        what: what was measured.
        candidate: whose ratios these are.
        ratio: of its time to that of the first candidate.
        processor: of its time of the processor to that of the first candidate.
        page: a page that ends with the table.
    """
    cells = (
        f"{datetime.now(UTC):%Y-%m-%d}",
        _commit(),
        f"{os.cpu_count()} cores, {_processor()}, load {os.getloadavg()[0]:.1f}",
        f"{what}: {candidate}",
        f"{ratio:.2f}",
        f"{processor:.2f}",
    )
    with page.open("a") as file:
        file.write(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n")


def _commit() -> str:
    """Return the commit, with a plus sign if files differ from it."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no commit"


def _processor() -> str:
    """Return the name of the processor."""
    lines = _CPUS.read_text().splitlines() if _CPUS.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
