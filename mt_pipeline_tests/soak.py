"""`make soak`: every fault over many captures, for an hour or two. `test_soak.py` is shorter.

Variables: SOAK_PARTS selects faults, all by default. SOAK_CAPTURES is the number of captures of
each, SOAK_POINTS that of kills or full disks, SOAK_LOOPS that of loops that keep the machine busy,
SOAK_EVENTS that of events for Dagster's database, SOAK_CUTS that of selections, and
SOAK_BENCH_PACKETS that of packets of a bench. SOAK_SECONDS is how long QuestDB is away, and
SOAK_SEED selects other random moments.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mt_pipeline.settings import PROJECT
from mt_pipeline.tshark.command import Tshark
from mt_pipeline_tests.bench import compare_one
from mt_pipeline_tests.benchmarks.measuring import say
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.soaking import cuts, decade, faults, machines, power

CAPTURES = int(os.environ.get("SOAK_CAPTURES", "200"))
POINTS = int(os.environ.get("SOAK_POINTS", "10"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
LOOPS = int(os.environ.get("SOAK_LOOPS", "16"))
EVENTS = int(os.environ.get("SOAK_EVENTS", "32000"))
BENCH_PACKETS = int(os.environ.get("SOAK_BENCH_PACKETS", "100000"))
CUTS = int(os.environ.get("SOAK_CUTS", "1000"))
SEED = int(os.environ.get("SOAK_SEED", "1"))


def short_bench(folder: Path) -> list[str]:
    """Print how a capture compares with the original's command; time alone is nothing wrong."""
    capture = folder / "one" / "bulk.pcap"
    capture.parent.mkdir()
    write_bulk(capture, BENCH_PACKETS)
    compare_one(Tshark.find(), capture, BENCH_PACKETS, folder, rounds=1, keep=False)
    return []


PARTS: dict[str, Callable[[Path], list[str]]] = {
    **{
        f"kill-{victim.lower().replace(' ', '-')}": partial(
            faults.kills, victim=victim, captures=CAPTURES, points=POINTS, seed=SEED
        )
        for victim in faults.VICTIMS
    },
    "busy": partial(faults.busy, captures=CAPTURES // 2, loops=LOOPS),
    "drops": partial(faults.drops, captures=CAPTURES),
    "outage": partial(faults.outage, captures=CAPTURES, seconds=SECONDS),
    "suspended": partial(faults.suspended, captures=CAPTURES),
    "full-disk": partial(faults.full_disk, captures=CAPTURES, points=POINTS, seed=SEED),
    "power-cut-lost": partial(power.lost, captures=CAPTURES),
    "power-cut-emptied": partial(power.emptied, captures=CAPTURES),
    **{
        f"machines-{fault}": partial(
            machines.faults, fault=fault, captures=CAPTURES, points=POINTS, seed=SEED
        )
        for fault in machines.FAULTS
    },
    "machines": partial(machines.shares, captures=3 * CAPTURES // 2),
    "ten-years": partial(decade.ten_years, captures=decade.DAYS),
    "clock": partial(faults.clock, captures=CAPTURES),
    "bench": short_bench,
    "cuts": partial(cuts.selections, count=CUTS),
    "events": partial(faults.events, count=EVENTS),
}


def main() -> None:
    """Run the faults, and exit with status 1 if one left anything wrong."""
    count = 0
    for name in os.environ.get("SOAK_PARTS", " ".join(PARTS)).split():
        with tempfile.TemporaryDirectory(
            prefix="mt-soak-", dir=PROJECT, ignore_cleanup_errors=True
        ) as folder:
            started = time.monotonic()
            wrong = PARTS[name](Path(folder))
        count += len(wrong)
        say(f"{name}: {'; '.join(wrong) or 'exact'} ({time.monotonic() - started:.0f} s)")
    sys.exit(bool(count))


if __name__ == "__main__":
    main()
