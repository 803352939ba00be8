"""A failed run on a terminal is one sentence; unexpected traces are shown."""

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


def shown(text: str) -> list[str]:
    return list(without_traces(text.splitlines()))


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


def test_the_trace_of_anything_else_passes_as_it_is():
    text = (
        f"{failure('STEP', 'division by zero', error='ZeroDivisionError')}{BEFORE}\nTraceback "
        "(most recent call last):\n  File x\nKeyError: 'a'\n"
    )

    assert shown(text) == text.splitlines()


def test_what_breaks_off_is_not_kept_back():
    line = f"{_PREFIX} - 17 - ingest - STEP_FAILURE - Execution of step failed."

    assert shown(line) == [line]
