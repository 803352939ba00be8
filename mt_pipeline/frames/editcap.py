"""Has editcap turn a capture into pcapng, as a stream: compressed ones, and rarer formats.

It runs as tshark does: confined where that is possible, within limits, ended with the block.
"""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mt_pipeline.frames.models import Unreadable
from mt_pipeline.system.processes import stop, unbuffered
from mt_pipeline.tshark import sandbox
from mt_pipeline.tshark.limits import Limits, Watch, Watched, limited, wait, work_of
from mt_pipeline.tshark.programs import CUT, INSTALL, printed, start, without_noise
from mt_pipeline.tshark.stderr import last_words

_BUFFER_BYTES = 1 << 18


@contextmanager
def converted(capture: Path, limits: Limits) -> Iterator["io.BufferedReader[Watched]"]:
    """Yield a capture as pcapng; editcap ends with the block.

    A block that reads to the end learns whether editcap did so, too.

    Raises:
        Unreadable: there is no editcap, or it cannot read the capture to its end, or not in time.
    """
    program = shutil.which("editcap")
    if program is None:
        raise Unreadable(f"it needs editcap, which comes with tshark: {INSTALL}")
    path = capture.absolute()
    command = limited([program, "-F", "pcapng", str(path), "-"], limits)
    if sandbox.confines(program) and sandbox.reads(path):
        command = sandbox.confined(command, path, ends_with_parent=True)
    with last_words() as (errors, rest):
        child = start(command, errors)
        watch = Watch(limits, lambda: work_of(child.pid))
        output = io.BufferedReader(
            Watched(unbuffered(child.stdout), watch, child.kill), _BUFFER_BYTES
        )
        try:
            yield output
            is_read = not output.read(1)
            status = wait(child, watch) if is_read else 0
        finally:
            stop(child, grace=0)
            output.close()
        said = " ".join(without_noise(printed(rest(), str(path))).split())
    if watch.silent or watch.late:
        raise Unreadable("editcap stood still, or took too long, and was ended")
    if status and CUT not in said:
        raise Unreadable(f"editcap stopped with status {status} and said: {said or 'nothing'}")
