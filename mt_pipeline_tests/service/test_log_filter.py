"""A failed run on a terminal is one sentence, and so is any other error with a trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_pipeline.service.log_filter import without_traces

_PREFIX = "2026-01-01 00:00:00 +0000 - dagster - ERROR - ingest_captures - 6be2a346"
_TRACE = (
    'Stack Trace:\n  File "execute_plan.py", line 243, in steps\n    yield from events\n        '
    "^^^^^\n\n"
)
SENTENCE = "lab/a.pcap is not a capture: it does not begin like one"
BEFORE = (
    "2026-01-01 00:00:00 +0000 - dagster - INFO - ingest_captures - 6be2a346 - ingest - "
    "lab/b.pcap: 2 packets, 2 rows in lab, 0.5 s"
)


def failure(
    kind: str, sentence: str, *, error: str = "dagster._core.definitions.events.Failure"
) -> str:
    return (
        f"{_PREFIX} - 17 - ingest - {kind}_FAILURE - Execution of step failed.\n\n{error}: "
        f"{sentence}\n\n{_TRACE}"
    )


def shown(text: str, *, data: Path = Path("/")) -> list[str]:
    return list(without_traces(text.splitlines(), data_dir=data))


def test_a_capture_that_failed_is_one_sentence():
    """A damaged file once printed the same trace of twenty lines twice."""
    sentence = f"{_PREFIX} - ingest - {SENTENCE}"
    text = f"{BEFORE}\n{sentence}\n{failure('STEP', SENTENCE)}{failure('RUN', SENTENCE)}{BEFORE}\n"

    assert shown(text) == [BEFORE, sentence, BEFORE]


def test_a_new_reason_is_shown_once():
    summary = f"2 of 50 captures failed, the others are done. {SENTENCE}"
    text = f"{_PREFIX} - ingest - {SENTENCE}\n{failure('STEP', summary)}{failure('RUN', summary)}"

    assert shown(text) == [
        f"{_PREFIX} - ingest - {SENTENCE}",
        f"{_PREFIX} - 17 - ingest - {summary}",
    ]


SENSOR = (
    "2026-01-01 00:00:00 +0000 - dagster.daemon.SensorDaemon - ERROR - a sensor caught an error"
)
FRAMES = """Traceback (most recent call last):
  File "/venv/dagster/_grpc/client.py", line 1, in query
    answer = ask(
             ^^^^
"""
CHAIN = f"""{FRAMES}grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:
\tdetails = "Connection refused"
>

The above exception was the direct cause of the following exception:

{FRAMES}dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach the code server"""
FULL = """sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) {reason}
[SQL: PRAGMA main.table_xinfo("runs")]
(Background on this error at: https://sqlalche.me/e/21/e3q8)
"""


def test_the_trace_of_anything_else_is_one_line():
    """What was unexpected filled the terminal with 46 lines each time."""
    text = failure("STEP", "division by zero", error="ZeroDivisionError")
    text += failure("RUN", "division by zero", error="ZeroDivisionError")

    assert shown(f"{text}{BEFORE}\n") == [
        f"{_PREFIX} - 17 - ingest - ZeroDivisionError: division by zero",
        BEFORE,
    ]


@pytest.mark.parametrize(
    ("header", "trace", "line"),
    [
        (
            SENSOR,
            CHAIN,
            f"{SENSOR}: DagsterUserCodeUnreachableError: Could not reach the code server",
        ),
        (
            "ERROR:    Exception in ASGI application",
            f"{FRAMES}KeyError: 'a'",
            "ERROR:    Exception in ASGI application: KeyError: 'a'",
        ),
        (
            "Exception in thread grpc-server-cleanup (_cleanup_thread):",
            f"{FRAMES}starlette.requests.ClientDisconnect",
            "Exception in thread grpc-server-cleanup (_cleanup_thread): ClientDisconnect",
        ),
        (None, f"{FRAMES}KeyError: 'a'", "KeyError: 'a'"),
        (
            failure("RUN", "").split("\n")[0],
            f"\ndagster._core.errors.DagsterExecutionInterruptedError\n\n{_TRACE}",
            f"{_PREFIX} - 17 - ingest - its run was cancelled while it was at work",
        ),
        (f"{SENSOR}:", _TRACE, f"{SENSOR}: an error without a message"),
    ],
)
def test_a_trace_of_any_program_is_its_last_line_once(header: str | None, trace: str, line: str):
    text = f"{header}\n{trace}\n" if header else f"{trace}\n"

    assert shown(f"{BEFORE}\n{text}{text}{BEFORE}\n{text}") == [BEFORE, line, BEFORE]


def test_a_trace_whose_header_is_coloured_is_one_line():
    """Dagster colours its log for a pipe, too."""
    time, _, rest = SENSOR.partition(" - ")
    header = (
        f"\x1b[32m{time}\x1b[0m - {rest.replace('ERROR', chr(27) + '[31mERROR' + chr(27) + '[0m')}"
    )

    assert shown(f"{header}\n{FRAMES}KeyError: 'a'\n{header}\n{FRAMES}KeyError: 'a'") == [
        f"{SENSOR}: KeyError: 'a'"
    ]


def test_an_error_that_goes_on_is_printed_once_a_minute():
    times = iter([0, 1, 59, 60, 61])
    text = f"{SENSOR}\n{CHAIN}\n" * 5

    lines = without_traces(text.splitlines(), data_dir=Path("/"), clock=lambda: next(times))

    assert len(list(lines)) == 2
    assert list(times) == []


def test_an_error_without_a_trace_is_shown_as_it_is():
    text = f"{SENSOR}\n  with more below it\nError: a line of click\n{BEFORE}\n{SENSOR}\n{SENSOR}"

    assert shown(text) == text.splitlines()


def test_an_error_is_shown_when_nothing_follows_it():
    """It would else be held back until the next line, which may come an hour later."""

    def lines() -> Iterator[str | None]:
        yield from f"{SENSOR}\n{CHAIN}".splitlines()
        yield None
        assert seen == [
            f"{SENSOR}: DagsterUserCodeUnreachableError: Could not reach the code server"
        ]

    seen: list[str] = []
    for line in without_traces(lines(), data_dir=Path("/")):
        seen.append(line)  # `lines` looks at it meanwhile
    assert len(seen) == 1


@pytest.mark.parametrize(
    "reason",
    ["disk I/O error", "database or disk is full", "[Errno 28] No space left on device: '/x'"],
)
def test_a_full_disk_is_said_in_plain_words_once(reason: str):
    """It was 98,553 lines of traces in two minutes, and none of them said so.

    /proc is a file system without free space.
    """
    error = FULL.format(reason=reason)
    cause = f"{FRAMES}{error}\nThe above exception was caused by the following exception:\n"
    other = f"2026-01-01 00:00:01 +0000 - dagster.daemon - ERROR - Caught error:\n{error}\n{_TRACE}"

    assert shown(f"{SENSOR}\n{cause}{FRAMES}{error}{other}", data=Path("/proc/self")) == [
        "2026-01-01 00:00:00 +0000 - the disk is full (/proc/self): free some space; "
        "all goes on by itself then"
    ]


def test_a_disk_that_cannot_be_read_is_not_called_full(tmp_path: Path):
    text = f"{SENSOR}\n{FRAMES}{FULL.format(reason='disk I/O error')}"

    assert shown(text, data=tmp_path) == [
        f"2026-01-01 00:00:00 +0000 - {tmp_path}: its disk cannot be read or written: "
        "look at `dmesg`, and replace the disk"
    ]


def test_what_breaks_off_is_not_kept_back():
    line = f"{_PREFIX} - 17 - ingest - STEP_FAILURE - Execution of step failed."

    assert shown(line) == [line]


def test_a_disk_that_was_full_is_not_called_broken_once_it_has_room(tmp_path: Path):
    """The errors of its last second say only that it cannot be read or written."""
    text = "".join(
        f"{SENSOR}\n{FRAMES}{FULL.format(reason=reason)}"
        for reason in ("database or disk is full", "disk I/O error")
    )

    [line] = shown(text, data=tmp_path)

    assert "the disk is full" in line
