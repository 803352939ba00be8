"""Ctrl-C is heard at once, whatever the main thread does then, be it in C code; and heard again while it ends what it began."""

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

AGAIN = "Ctrl-C again ends it at once"

CANCELLED = 130
"""Exit status of what Ctrl-C ended."""


@contextmanager
def heard(
    first: Callable[[], None],
    again: Callable[[], None],
    *,
    signals: Collection[int] = (signal.SIGINT,),
) -> Iterator[None]:
    """Have a thread act on signals as they come; the handlers of Python, whoever sets them, act besides. Only for the main thread.

    Args:
        first: called for the first of them, in that thread.
        again: called for each one after it.
        signals: others are let pass.
    """
    ours, its = os.pipe()
    os.set_blocking(its, False)  # a handler must never wait

    def listen() -> None:
        act = first
        while received := os.read(ours, 1):
            if received[0] in signals:
                act()
                act = again

    # Python writes the number of each signal there, before any handler of its own.
    before = signal.set_wakeup_fd(its, warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(its)
        listener.join()
        os.close(ours)


def stopping(waits_for: Collection[str]) -> str:
    """Say what is waited for before the end, in that order."""
    return f"stopping: waits for {', then '.join(waits_for)}; {AGAIN}" if waits_for else "stopping"


def end_now() -> None:
    """End this process; the kernel ends what is bound to it (`processes.bound`), and whoever comes next takes up what was at work."""
    os._exit(CANCELLED)
