"""Time, processor time and peak memory of commands and of the pipeline, and their tables."""

import ctypes
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from mt_pipeline.backends.questdb import server
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings
from mt_pipeline_tests.benchmarks import history

_SET_CHILD_SUBREAPER = 36
"""Linux's PR_SET_CHILD_SUBREAPER."""

ORIGINAL_FIELDS = (
    "frame.time_epoch ip.src ip.dst frame.len ip.proto tcp.port udp.port "
    "tls.handshake.extensions_server_name tls.handshake.extensions_alpn_str tcp.stream udp.stream"
).split()


@dataclass(frozen=True)
class Measured:
    """Cost of a candidate.

    Attributes:
        seconds: elapsed time.
        processor: processor seconds of all its processes, QuestDB included.
        memory: peak of its largest process in MiB, QuestDB excluded.
    """

    seconds: float
    processor: float
    memory: float


def original(tshark: str, capture: Path) -> list[str]:
    """Return the command of MT_ProcessPKTs."""
    return [
        tshark,
        "-r",
        str(capture),
        "-Y",
        "",
        "-T",
        "json",
        *(part for field in ORIGINAL_FIELDS for part in ("-e", field)),
    ]


def run(*commands: list[str], environment: dict[str, str] | None = None) -> Measured:
    """Run commands in turn, and discard their output."""
    started, processor, memory = time.monotonic(), 0.0, 0.0
    for command in commands:
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command)
        processor += used.ru_utime + used.ru_stime
        memory = max(memory, used.ru_maxrss / 1024)
    return Measured(time.monotonic() - started, processor, memory)


def ours(captures: Path, folder: Path, *, enrichment: str = "none") -> Measured:
    """Run captures through all stages as the watched folder does, with QuestDB already running.

    Args:
        captures: a folder of captures.
        folder: for the data; must not exist yet.
        enrichment: providers to ask about endpoints.
    """
    environment = {
        **os.environ,
        "MT_DATA_DIR": str(folder),
        "MT_ENRICHMENT": enrichment,
        "MT_QUESTDB_PASSWORD": "quest",
    }
    with server.start(
        folder / "questdb", http_port=0, pg_port=0, user="admin", password="quest"
    ) as database:
        before = processor_of(database.pid)
        total = run(
            [
                sys.executable,
                "-m",
                "mt_pipeline_tests.benchmarks.ingesting",
                str(captures),
                str(folder / "seconds"),
            ],
            environment=environment,
        )
        seconds, processor = map(float, (folder / "seconds").read_text().split())
        return Measured(seconds, processor + processor_of(database.pid) - before, total.memory)


def ingested(captures: Path, folder: Path) -> Measured:
    """Run `mt-pipeline ingest` on all cores, as a person would.

    The result includes the start of the command and of QuestDB, and the memory of QuestDB.

    Args:
        captures: a folder of captures.
        folder: for the data; must not exist yet.
    """
    environment = {**os.environ, "MT_DATA_DIR": str(folder), "MT_ENRICHMENT": "none"}
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    total = run(
        [sys.executable, "-m", "mt_pipeline.cli.main", "ingest", str(captures)],
        environment=environment,
    )
    return replace(total, processor=total.processor + _orphans())


def run_seconds(folder: Path) -> float:
    """Return the seconds from the start of Dagster's first run to the end of its last."""
    with dagster_home.opened(Settings(_env_file=None, data_dir=folder).options()) as opened:
        records = opened.get_run_records()
    return max(record.end_time or 0 for record in records) - min(
        record.start_time or 0 for record in records
    )


def _orphans() -> float:
    """Return the processor seconds of processes that outlived their parent and became our children.

    They end by themselves.
    """
    processor, deadline = 0.0, time.monotonic() + 30
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            pid, _, used = os.wait3(os.WNOHANG)
            processor += used.ru_utime + used.ru_stime if pid else 0
            time.sleep(0 if pid else 0.1)
    return processor


def used() -> float:
    """Return the processor seconds of this process and of its children."""
    return sum(
        sum(process.cpu_times()[:4])
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]
    )


def processor_of(process: int) -> float:
    """Return the processor seconds of a process, in steps of a hundredth."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compared(
    title: str,
    packets: int,
    rounds: int,
    candidates: dict[str, Callable[[int], Measured]],
    *,
    keep: bool = True,
) -> dict[str, float]:
    """Measure candidates in turn, for several rounds; print medians and ratios to the first.

    Args:
        title: what is measured.
        packets: of all captures together.
        rounds: how often each is measured.
        candidates: measures each, given the number of the round.
        keep: whether the ratios are appended to the history.

    Returns:
        The ratio of each candidate's time to that of the first.
    """
    say(f"\n{title}, {rounds} rounds, medians")
    results: dict[str, list[Measured]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name, measure in candidates.items():
            results[name].append(measure(number))
            last = results[name][-1]
            say(
                f"  round {number + 1}: {name}: {last.seconds:.1f} s, "
                f"processor {last.processor:.1f} s"
            )
    first = next(iter(results.values()))
    say(
        f"| {'':<44} | seconds | processor | packets/s | ratio | of processor | MiB |\n"
        "|---|---|---|---|---|---|---|"
    )
    ratios = {}
    for name, measured in results.items():
        seconds, processor = (
            statistics.median(m.seconds for m in measured),
            statistics.median(m.processor for m in measured),
        )
        ratio = statistics.median(
            m.seconds / base.seconds for m, base in zip(measured, first, strict=True)
        )
        work = statistics.median(
            m.processor / base.processor for m, base in zip(measured, first, strict=True)
        )
        memory = max(m.memory for m in measured)
        say(
            f"| {name:<44} | {seconds:.1f} | {processor:.1f} | {packets / seconds:,.0f} "
            f"| {ratio:.2f} | {work:.2f} | {memory:.0f} |"
        )
        ratios[name] = ratio
        if keep and measured is not first:
            history.append(title, name, ratio=ratio, processor=work)
    return ratios


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201
