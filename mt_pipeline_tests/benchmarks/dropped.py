"""A service at rest: from a copied capture to its rows, and what it costs while it has no work."""

import random
import statistics
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from mt_pipeline.captures.records import State
from mt_pipeline_tests.benchmarks.measuring import say
from mt_pipeline_tests.pipelines import PACKETS, capture
from mt_pipeline_tests.services import Running, eventually, processes_of, running

SETTLE = 5
_REST_SECONDS = 60
"""Time for what starts and ends with a service, or with a run, to do so."""


def compared(folder: Path, *, rounds: int, idle: int, earlier: str) -> None:
    """Time drops of captures and measure idle services, of this code and of an earlier one.

    The services run at the same time; captures are dropped into one of them in turn.

    Args:
        folder: for the data; must not exist yet.
        rounds: captures for each.
        idle: seconds to measure without work.
        earlier: a folder with another checkout of this project; empty for none.
    """
    codes = {"earlier": earlier, "this": ""} if earlier else {"this": ""}
    with ExitStack() as stack:
        services = {}
        for name, code in codes.items():
            (folder / name).mkdir(parents=True)
            started = running(folder / name, MT_SETTLE_SECONDS=str(SETTLE), PYTHONPATH=code)
            services[name] = stack.enter_context(started)
        time.sleep(_REST_SECONDS)
        before = {name: _processor(service) for name, service in services.items()}
        time.sleep(idle)
        shares = {
            name: (_processor(service) - before[name]) / idle for name, service in services.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in services}
        for number in range(rounds):
            for name, service in services.items():
                time.sleep(random.uniform(5, 10))  # noqa: S311  at any moment of its ticks
                seconds[name].append(_dropped(service, f"drop{number}") - SETTLE)
                say(f"  round {number + 1}: {name}: {seconds[name][-1]:.1f} s")
    means = {name: statistics.mean(taken) for name, taken in seconds.items()}
    first = means[next(iter(services))]
    say(
        f"\nA capture of {PACKETS} packets, from its last byte to its rows, beyond the settle "
        f"time; {rounds} rounds\n| code | median | mean | most | ratio of means | idle, of a core |"
        "\n|---|---|---|---|---|---|"
    )
    for name, taken in seconds.items():
        say(
            f"| {name} | {statistics.median(taken):.1f} | {means[name]:.1f} | {max(taken):.1f} "
            f"| {means[name] / first:.2f} | {shares[name]:.1%} |"
        )


def _dropped(service: Running, experiment: str) -> float:
    """Drop a capture; return the seconds until its rows can be read, when its run has ended."""
    key = f"{experiment}/a.pcap"
    capture(service.data / "inbox" / key)
    started = time.monotonic()
    assert eventually(lambda: len(service.rows(experiment)) == PACKETS)
    taken = time.monotonic() - started
    assert eventually(
        lambda: (record := service.record(key)) is not None and record.state is State.DONE
    )
    return taken


def _processor(service: Running) -> float:
    """Return the processor seconds of all processes of a service, QuestDB included."""
    seconds = 0.0
    for process in processes_of(service.data):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:2])
    return seconds
