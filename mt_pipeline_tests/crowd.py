"""Processes that enrich captures from one data folder, as runs do, without tshark and tables.

Tests see from this what is asked, and how often. To measure it at any size:
python -m mt_pipeline_tests.crowd ENDPOINTS CAPTURES
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.pipeline import providers
from mt_pipeline.settings import Settings
from mt_pipeline_tests.enrichment.parts import addresses, endpoints_file
from mt_pipeline_tests.fake_netify import FakeNetify

KEY = "key-of-the-crowd"
PROCESSES = 4
SHARED = 4
"""In so many captures each endpoint is."""


def captures(folder: Path, *, endpoints: int, count: int) -> list[Path]:
    """Write the endpoints of captures; neighbours have most of them in common."""
    all_of_them, step = addresses(endpoints), endpoints // count
    files = []
    for number in range(count):
        own = [all_of_them[(number * step + place) % endpoints] for place in range(step * SHARED)]
        files.append(endpoints_file(folder / f"{number}.parquet", own))
    return files


def start(
    data: Path, files: Sequence[Path], *, url: str, run: str, **settings: object
) -> "subprocess.Popen[str]":
    """Start a process that enriches captures one by one, and skips those that are done."""
    with_netify = {
        "data_dir": str(data),
        "enrichment": "netify",
        "netify_api_key": KEY,
        "netify_url": url,
        "netify_rate": 10_000,
        **settings,
    }
    given = json.dumps({"settings": with_netify, "run": run, "files": list(map(str, files))})
    command = [sys.executable, "-m", "mt_pipeline_tests.crowd", given]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def crowd(data: Path, files: Sequence[Path], *, url: str, **settings: object) -> None:
    """Divide the captures among four processes, which ask for the same endpoints, and wait."""
    ended(
        [
            start(data, files[number::PROCESSES], url=url, run=f"run {number}", **settings)
            for number in range(PROCESSES)
        ]
    )


def ended(processes: "Iterable[subprocess.Popen[str]]") -> None:
    """Wait for processes to end well."""
    for process in processes:
        _, said = process.communicate(timeout=280)
        assert process.returncode == 0, said


def done(file: Path) -> Path:
    """Name the answers of a capture."""
    return file.parent / "answers" / file.name


def _walk(settings: Mapping[str, object], run: str, files: Iterable[Path]) -> None:
    found = Settings(_env_file=None, **settings).options()
    for file in files:
        if not done(file).exists():
            with providers.opened(found, run=run) as (chain, store):
                enrich(file, done(file), providers=chain, store=store)


def _measure(endpoints: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, FakeNetify() as netify:
        files = captures(Path(folder) / "captures", endpoints=endpoints, count=count)
        began = time.monotonic()
        crowd(Path(folder) / "data", files, url=netify.url)
        seconds, asked = time.monotonic() - began, netify.asked()
        sys.stdout.write(
            f"{endpoints:,} endpoints, {count:,} captures: {len(asked):,} requests, "
            f"{len(set(asked)):,} distinct, {seconds:.1f} s\n"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _measure(int(sys.argv[1]), int(sys.argv[2]))
    else:
        told = json.loads(sys.argv[1])
        _walk(told["settings"], told["run"], map(Path, told["files"]))
