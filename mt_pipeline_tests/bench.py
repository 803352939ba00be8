"""`make bench`: from files to readable rows, beside the original's own tshark command, in turn on the same packets.

BENCH_PARTS says what is measured: `one` capture; the queries of the `dashboards` over BENCH_ROWS packets, five million if not set; the packets of
`one` in many `files`; `small` captures of twenty packets; a `crowded` inbox and page; the `answers` (`bench_answers.py`); `peers`. All but the last
if not set. Times of one command move by a quarter on a shared machine, and by half on a busy one: read the ratios.
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
from mt_pipeline_tests.benchmarks import crowded, dashboards, peers
from mt_pipeline_tests.benchmarks.measuring import (
    Measured,
    compared,
    ingested,
    of_runs,
    original,
    ours,
    run,
    say,
)
from mt_pipeline_tests.building.bulk import write_bulk

PACKETS = int(os.environ.get("BENCH_PACKETS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
FILES = int(os.environ.get("BENCH_FILES", "200"))
SMALL = int(os.environ.get("BENCH_SMALL", "400"))
ROWS = int(os.environ.get("BENCH_ROWS", "5000000"))
KNOWN = int(os.environ.get("BENCH_KNOWN", "50000"))
PARTITIONS = int(os.environ.get("BENCH_PARTITIONS", "25000"))
PEER_PACKETS = int(os.environ.get("BENCH_PEER_PACKETS", "20000"))
OF_SMALL = 20
EDITCAP = shutil.which("editcap") or "editcap"


def main() -> None:
    tshark = Tshark.find()
    parts = os.environ.get("BENCH_PARTS", "one dashboards files small crowded answers").split()
    with tempfile.TemporaryDirectory(prefix="mt-bench-", dir=PROJECT) as name:
        folder = Path(name)
        capture = folder / "one" / "bulk.pcap"
        capture.parent.mkdir()
        say(f"building a capture of {PACKETS:,} packets")
        write_bulk(capture, PACKETS)
        say(
            f"tshark {tshark.version}, {os.cpu_count()} cores, {capture.stat().st_size:,} bytes, load of the machine {os.getloadavg()[0]:.1f}"
        )
        if "one" in parts:
            candidates = {
                "tshark -T json, the original's fields": lambda _: run(
                    original(tshark.program, capture)
                ),
                "tshark alone, our command": lambda _: run(tshark.command(capture, "")),
                "ours, from the file to readable rows": lambda number: ours(
                    capture.parent, folder / f"data-one{number}"
                ),
            }
            compared(f"One capture of {PACKETS:,} packets", PACKETS, ROUNDS, candidates)
        if "dashboards" in parts:
            ours(capture.parent, folder / "data-dashboards", enrichment="offline")
            dashboards.timed(folder / "data-dashboards", rows=ROWS)
        if "files" in parts:
            beside(
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
            beside(
                tshark,
                split(folder / "few.pcap", folder / "small", OF_SMALL),
                f"{SMALL} captures of {OF_SMALL} packets",
                packets,
                folder,
            )
        if "crowded" in parts:
            crowded.looks(folder / "data-looks", count=KNOWN)
            crowded.asset_page(folder / "crowded", partitions=PARTITIONS)
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


def split(capture: Path, folder: Path, packets: int) -> Path:
    """Split a capture into files of so many packets."""
    folder.mkdir()
    subprocess.run(
        [EDITCAP, "-c", str(packets), str(capture), str(folder / "part.pcap")], check=True
    )
    return folder


def beside(tshark: Tshark, captures: Path, title: str, packets: int, folder: Path) -> None:
    """Compare many captures with the original's command, run over them one after the other."""
    commands = [original(tshark.program, capture) for capture in sorted(captures.iterdir())]
    whole: dict[int, Measured] = {}

    def ingest(number: int) -> Measured:
        whole[number] = ingested(captures, data(number))
        return whole[number]

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
                whole[number], seconds=of_runs(data(number))
            ),
        },
    )


if __name__ == "__main__":
    main()
