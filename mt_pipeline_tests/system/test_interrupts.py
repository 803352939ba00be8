"""Ctrl-C is handled while the main thread runs C code, and so is a second one."""

import os
import signal
import subprocess
import sys
import threading
import time

from mt_pipeline.system.interrupts import CANCELLED, heard, stopping
from mt_pipeline_tests.services import eventually

_BUSY = """
import hashlib, signal
from mt_pipeline.system.interrupts import end_now, heard

def first():
    print("first", flush=True)

def again():
    print("again", flush=True)
    end_now()

signal.signal(signal.SIGINT, lambda *_: None)
with heard(first, again):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
"""


def test_it_is_heard_while_c_code_goes_on_and_the_second_ends_it():
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "first\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "again\n"
            assert process.wait(60) == CANCELLED
        finally:
            process.kill()


def test_only_the_signals_that_are_meant_are_heard_and_nothing_is_left_of_it():
    calls: list[str] = []
    before, threads = signal.signal(signal.SIGUSR1, lambda *_: None), threading.active_count()
    try:
        with heard(
            lambda: calls.append("first"), lambda: calls.append("again"), signals=[signal.SIGUSR1]
        ):
            other = signal.signal(signal.SIGUSR2, lambda *_: None)
            for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR1, signal.SIGUSR1):
                os.kill(os.getpid(), number)
                time.sleep(0)  # a handler may run
            assert eventually(lambda: calls == ["first", "again", "again"], seconds=60)
        signal.signal(signal.SIGUSR2, other)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


def test_what_is_waited_for_is_said_in_its_order():
    assert (
        stopping(["2 captures", "QuestDB"])
        == "stopping: waits for 2 captures, then QuestDB; Ctrl-C again ends it at once"
    )
    assert stopping([]) == "stopping"
