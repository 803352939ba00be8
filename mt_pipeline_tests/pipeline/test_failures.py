"""What went wrong, as a sentence, and as the failure of a run."""

import errno

import duckdb
import psycopg
import pytest

from mt_pipeline.backends.loads import Unreachable
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.defs.failures import failure
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline.failures import Failed, failed, sentence
from mt_pipeline.tshark.errors import NotACapture, TsharkFailed


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CaptureError("it is\n  empty"), "it is empty"),
        (Unreachable("QuestDB does not answer"), "QuestDB does not answer"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            "the disk is full (/data/x): free some space",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            "the quota of this user is used up: delete something, or have it raised",
        ),
        (
            FileExistsError(errno.EEXIST, "File exists", "/data/dagster"),
            "/data/dagster: something of this name is there already: move it away",
        ),
        (
            duckdb.IOException("IO Error: No space left on device"),
            "the disk is full (data folder): free some space",
        ),
        (
            psycopg.DatabaseError("[24] could not open read-only [file=/x/code.k]\nLINE 1: SELECT"),
            "QuestDB cannot use its files: it has as many files open as it may: "
            "raise the limit with `ulimit -n 65536`",
        ),
        (
            TsharkFailed("lab/[24] a.pcap: tshark stopped", stderr="Too many open files in system"),
            "this machine has as many files open as it may: "
            "stop what opens so many, or raise fs.file-max",
        ),
        (
            TsharkFailed("lab/No space left.pcap is odd", stderr="odd"),
            "lab/No space left.pcap is odd",
        ),
        (CommandError("a worker ended"), "a worker ended"),
        (MemoryError(), "out of memory: wait until fewer runs are at work"),
        (ZeroDivisionError("division\nby zero"), "unexpected ZeroDivisionError: division by zero"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_becomes_one_line_that_says_what_to_do(error: Exception, text: str):
    assert sentence(error) == text


def test_only_the_load_of_a_capture_is_to_be_launched_again_and_has_a_log():
    """Each command said so, also those that have neither a run nor a capture."""
    full, bug = OSError(errno.ENOSPC, "No space left on device", "/data/x"), KeyError("x")

    assert failed("a/a.pcap", full).reason == (
        "a/a.pcap: the disk is full (/data/x): free some space, then launch the capture again"
    )
    assert failed("a/a.pcap", bug).reason == (
        "a/a.pcap: unexpected KeyError: 'x'; the log of the run has the details"
    )
    assert failed("a/a.pcap", full, loads=False).reason == (
        "a/a.pcap: the disk is full (/data/x): free some space"
    )
    assert failed("a/a.pcap", bug, loads=False).reason == "a/a.pcap: unexpected KeyError: 'x'"
    assert failed("a/a.pcap", Unreachable("it is away")).reason == "a/a.pcap: it is away"


def test_an_unexpected_error_of_any_length_stays_short():
    assert len(sentence(ValueError("x" * 100_000))) < 600


def test_the_reason_names_the_capture_once():
    assert failed("lab/a.pcap", CaptureError("lab/a.pcap is empty")).reason == "lab/a.pcap is empty"
    assert failed("lab/a.pcap", CaptureError("it is empty")).reason == "lab/a.pcap: it is empty"


def test_a_key_with_a_newline_does_not_break_the_line():
    assert (
        failed("lab/a\nb.pcap", CaptureError("it is empty")).reason
        == "./lab/a\\u000ab.pcap: it is empty"
    )


def test_what_tshark_said_stands_below_the_failure_of_a_single_capture():
    result = failed(
        "lab/a.pcap",
        NotACapture("not a capture: /in/lab/a.pcap", stderr="tshark: what is this?", status=2),
    )

    made = failure([result], 1)

    assert made.description == "not a capture: /in/lab/a.pcap"
    assert {name: value.value for name, value in made.metadata.items()} == {
        "captures_failed": 1,
        "tshark_said": "```text\ntshark: what is this?\n```",
        "tshark_exit_status": 2,
    }
    assert not made.allow_retries


def test_what_tshark_said_keeps_its_columns_whatever_is_in_it():
    output = (
        "tshark: foo is neither a field nor a protocol name.\n"
        "    frame ``` and foo\n"
        "                  ^~~\n"
    )

    made = failure([Failed("lab/a.pcap", "display filter not understood", output)], 1)

    assert made.metadata["tshark_said"].value == f"````text\n{output}````"


def test_the_failure_of_many_names_the_first_five_and_lists_all():
    made = failure([Failed(f"{number}.pcap", f"{number}.pcap is empty") for number in range(7)], 50)

    assert made.description == (
        "7 of 50 captures failed, the others are done. "
        "0.pcap is empty | 1.pcap is empty | 2.pcap is empty | 3.pcap is empty | 4.pcap is empty"
    )
    assert made.metadata["failed"].value == {
        f"{number}.pcap": f"{number}.pcap is empty" for number in range(7)
    }


def test_it_is_not_said_that_others_are_done_when_there_are_none():
    """When all captures failed, the text was: 3 of 3 captures failed, the others are done."""
    assert (
        failure([Failed("a", "a is empty"), Failed("b", "b is empty")], 2).description
        == "all 2 captures failed. a is empty | b is empty"
    )
