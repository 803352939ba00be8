"""Counting the packets of a capture without dissecting them: all of them, and those that are there twice."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mt_pipeline.processes import bound, stop
from mt_pipeline.tshark.command import CUT, environment, run


@dataclass(frozen=True)
class Counted:
    """What capinfos says, which does not dissect: packets, None if it is missing or cannot say; and whether the capture is cut."""

    packets: int | None
    cut: bool


def count_packets(capture: Path) -> Counted:
    """Count the packets of a capture without dissecting them."""
    program = shutil.which("capinfos")
    if program is None:
        return Counted(None, cut=False)
    done = run([program, "-Mcr", "-T", str(capture.absolute())])  # a cut capture gives its whole packets and an error status
    match = re.search(r"\t(\d+)\s*$", done.stdout)
    return Counted(int(match.group(1)) if match else None, cut=CUT in done.stderr)


@contextmanager
def duplicates(capture: Path) -> Iterator[Callable[[], int | None]]:
    """Count the packets with the same bytes as one of the four before, as mirror ports make them, while other things are done.

    Leaving the block ends the count.

    Yields:
        What waits for the number; it is None if editcap is missing or cannot say.
    """
    program = shutil.which("editcap")
    if program is None:
        yield lambda: None
        return
    with tempfile.TemporaryFile() as said:
        command = bound([program, "-d", str(capture.absolute()), os.devnull])
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=environment())
        try:
            yield lambda: _skipped(child, said)
        finally:
            stop(child, grace=0)


def _skipped(child: subprocess.Popen[bytes], said: IO[bytes]) -> int | None:
    child.wait()
    said.seek(0)
    match = re.search(rb"(\d+) packets? skipped with duplicate window", said.read())
    return int(match.group(1)) if match else None
