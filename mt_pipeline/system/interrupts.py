"""Handling of Ctrl-C in a thread: at once, even while the main thread runs C code."""

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

AGAIN = "Ctrl-C again ends it at once"

CANCELLED = 130
"""Exit status after Ctrl-C."""

ENDING = threading.Event()
"""Set when this process is about to end. What waits long in one of its threads looks at this."""


@contextmanager
def heard(
    first: Callable[[], None],
    again: Callable[[], None],
    *,
    signals: Collection[int] = (signal.SIGINT,),
) -> Iterator[None]:
    """Handle signals in a thread while the block runs. Python's handlers run as well.

    Call this in the main thread.

    Args:
        first: called for the first signal, in that thread.
        again: called for each further signal.
        signals: the signals to handle.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # a signal handler must never wait

    def listen() -> None:
        act = first
        while received := os.read(reader, 1):
            if received[0] in signals:
                act()
                act = again

    # Python writes the number of each signal to this file before it calls a handler.
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        listener.join()
        os.close(reader)


def stopping(waits_for: Collection[str]) -> str:
    """Return the message of a process that stops and waits for others, in this order."""
    return f"stopping: waits for {', then '.join(waits_for)}; {AGAIN}" if waits_for else "stopping"


def end_now() -> None:
    """End this process at once.

    The kernel ends the processes bound to it (`processes.bound`). The next start resumes their
    work.
    """
    os._exit(CANCELLED)
