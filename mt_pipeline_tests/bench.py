"""`make bench`: from files to readable rows, compared with MT_ProcessPKTs's own tshark command.

BENCH_PARTS lists what to measure: `one` capture; queries of the `dashboards` over BENCH_ROWS
packets, five million by default; clicks in the `explorer` over BENCH_FLOWS flows and a conversation
of BENCH_ROWS packets; the packets of `one` in many `files`; `small` captures of twenty packets;
captures `dropped` into a service at rest, beside one of the code in the folder BENCH_EARLIER; a
service `crowded` by BENCH_KNOWN captures, which may be several numbers; the `answers`
(`bench_answers.py`); `peers`. The default is all but the last. Candidates run in turn on the same
packets. Times of a command vary by a quarter on a shared machine, and by half on a busy one:
compare the ratios. They are appended to the history in docs/benchmarks.md.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from mt_pipeline.settings import PROJECT
from mt_pipeline.tshark.command import Tshark
from mt_pipeline_tests import bench_answers
from mt_pipeline_tests.benchmarks import crowded, dashboards, dropped, explorer, peers
from mt_pipeline_tests.benchmarks.measuring import (
    Measured,
    compared,
    ingested,
    original,
    ours,
    run,
    run_seconds,
    say,
)
from mt_pipeline_tests.building.bulk import write_bulk

PACKETS = int(os.environ.get("BENCH_PACKETS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
FILES = int(os.environ.get("BENCH_FILES", "200"))
SMALL = int(os.environ.get("BENCH_SMALL", "400"))
ROWS = int(os.environ.get("BENCH_ROWS", "5000000"))
FLOWS = int(os.environ.get("BENCH_FLOWS", "1130000"))
KNOWN = [int(count) for count in os.environ.get("BENCH_KNOWN", "50000").split()]
DROPS = int(os.environ.get("BENCH_DROPS", "10"))
IDLE_SECONDS = int(os.environ.get("BENCH_IDLE", "120"))
EARLIER = os.environ.get("BENCH_EARLIER", "")
PEER_PACKETS = int(os.environ.get("BENCH_PEER_PACKETS", "20000"))
OF_SMALL = 20
EDITCAP = shutil.which("editcap") or "editcap"


def main() -> None:
    tshark = Tshark.find()
    parts = os.environ.get(
        "BENCH_PARTS", "one dashboards explorer files small dropped crowded answers"
    ).split()
    with tempfile.TemporaryDirectory(prefix="mt-bench-", dir=PROJECT) as name:
        folder = Path(name)
        capture = folder / "one" / "bulk.pcap"
        capture.parent.mkdir()
        say(f"building a capture of {PACKETS:,} packets")
        write_bulk(capture, PACKETS)
        say(
            f"tshark {tshark.version}, {os.cpu_count()} cores, {capture.stat().st_size:,} bytes, "
            f"load of the machine {os.getloadavg()[0]:.1f}"
        )
        if "one" in parts:
            compare_one(tshark, capture, PACKETS, folder, rounds=ROUNDS)
        if "dashboards" in parts:
            ours(capture.parent, folder / "data-dashboards", enrichment="offline")
            dashboards.timed(folder / "data-dashboards", rows=ROWS)
        if "explorer" in parts:
            few = folder / "few" / "bulk.pcap"
            few.parent.mkdir()
            write_bulk(few, OF_SMALL)
            ours(few.parent, folder / "data-explorer")
            explorer.clicks(folder / "data-explorer", flows=FLOWS, packets=ROWS)
        if "files" in parts:
            compare_many(
                tshark,
                split(capture, folder / "files", -(-PACKETS // FILES)),
                f"{PACKETS:,} packets in {FILES} files",
                PACKETS,
                folder,
            )
        if "small" in parts:
            packets = SMALL * OF_SMALL
            subprocess.run(
                [EDITCAP, "-r", str(capture), str(folder / "few.pcap"), f"1-{packets}"], check=True
            )
            compare_many(
                tshark,
                split(folder / "few.pcap", folder / "small", OF_SMALL),
                f"{SMALL} captures of {OF_SMALL} packets",
                packets,
                folder,
            )
        if "dropped" in parts:
            dropped.compared(folder / "dropped", rounds=DROPS, idle=IDLE_SECONDS, earlier=EARLIER)
        if "crowded" in parts:
            crowded.measured(folder, counts=KNOWN)
        if "answers" in parts:
            bench_answers.main(say)
        if "peers" in parts:
            sample = folder / "sample.pcap"
            subprocess.run(
                [EDITCAP, "-r", str(capture), str(sample), f"1-{PEER_PACKETS}"], check=True
            )
            compared(
                f"Peers, {PEER_PACKETS:,} packets",
                PEER_PACKETS,
                ROUNDS,
                peers.candidates(tshark.program, sample, folder),
            )


def compare_one(
    tshark: Tshark, capture: Path, packets: int, folder: Path, *, rounds: int, keep: bool = True
) -> None:
    """Compare one capture, alone in its folder, with the original's command."""
    candidates = {
        "tshark -T json, the original's fields": lambda _: run(original(tshark.program, capture)),
        "tshark alone, our command": lambda _: run(tshark.command(capture, "")),
        "ours, from the file to readable rows": lambda number: ours(
            capture.parent, folder / f"data-one{number}"
        ),
        "ours, the whole command": lambda number: ingested(
            capture.parent, folder / f"data-command{number}"
        ),
    }
    compared(f"One capture of {packets:,} packets", packets, rounds, candidates, keep=keep)


def split(capture: Path, folder: Path, packets: int) -> Path:
    """Split a capture into files of so many packets."""
    folder.mkdir()
    subprocess.run(
        [EDITCAP, "-c", str(packets), str(capture), str(folder / "part.pcap")], check=True
    )
    return folder


def compare_many(tshark: Tshark, captures: Path, title: str, packets: int, folder: Path) -> None:
    """Compare many captures with the original's command, run over each of them in turn."""
    commands = [original(tshark.program, capture) for capture in sorted(captures.iterdir())]
    totals: dict[int, Measured] = {}

    def ingest(number: int) -> Measured:
        totals[number] = ingested(captures, data(number))
        return totals[number]

    def data(number: int) -> Path:
        return folder / f"data-{captures.name}{number}"

    compared(
        title,
        packets,
        ROUNDS,
        {
            "tshark -T json, one file after the other": lambda _: run(*commands),
            "ours, the whole command": ingest,
            "ours, from the first run's start to the rows": lambda number: replace(
                totals[number], seconds=run_seconds(data(number))
            ),
        },
    )


if __name__ == "__main__":
    main()
