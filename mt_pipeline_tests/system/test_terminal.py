"""Text that others chose does not control a terminal: no control and no invisible characters."""

import io
import json
import logging
import os
import pty
import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.defs.metadata import escaped
from mt_pipeline.pipeline.failures import sentence
from mt_pipeline.report.formatting import visible as visible_on_a_page
from mt_pipeline.system import terminal as shown_at
from mt_pipeline.system.terminal import Shown, shown, visible
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.pipelines import Lab, Result, capture, ended, program, wrapper

Terminal = Callable[..., Result]

ODD = (
    "\x1b[31mred\x1b]0;title\x07 \u202eexe.pac\u2066x\u2069 "
    "\u200bzero\ufeff \u2028line\x85\x9b1m\x7f\r\b"
)
"""Colours, the title of a window, text directions, zero-width characters, ends of lines."""

STORABLE = "".join(letter for letter in ODD if unicodedata.category(letter) != "Cc")
"""The characters of these that a capture key may have."""


def odd(text: str) -> str:
    """Find what must not reach a terminal."""
    return "".join(
        letter
        for letter in text
        if letter != "\n" and unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )


def test_every_character_is_visible_afterwards():
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert odd(visible(everything)) == ""
    assert "\n" not in visible(everything)
    assert visible(everything, lines=True).count("\n") == 1
    plain = "café 名前 🙂 e\u0301 \u00a0 „quoted“ \\ % {x}"
    assert visible(plain) == plain
    assert visible("\x1b\u202e\udce9\U000e0001\t") == "\\u001b\\u202e\\xe9\\U000e0001\\u0009"


def test_all_that_is_written_is_visible():
    stream = io.StringIO()
    Shown(stream).write(f"one {ODD}\ntwo\n")
    assert odd(stream.getvalue()) == ""
    assert stream.getvalue().count("\n") == 2
    assert stream.getvalue().endswith("\ntwo\n")


def test_streams_are_what_they_were_afterwards(capsys: pytest.CaptureFixture[str]):
    before = sys.stdout, sys.stderr
    with shown(), shown():
        sys.stdout.writelines([ODD])
        sys.stderr.write(ODD)
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": ODD}))
        assert shown_at.raw(sys.stderr) is before[1]
    assert (sys.stdout, sys.stderr) == before
    output = capsys.readouterr()
    assert odd(output.out + output.err) == ""
    assert output.out.count("\\u202e") == 1  # once, though it went through two


def test_what_a_program_or_a_server_says_is_visible_where_it_is_kept():
    for text in (
        sentence(CaptureError(f"tshark said: {ODD}")),
        sentence(KeyError(ODD)),
        escaped(ODD),
        visible_on_a_page(ODD),
    ):
        assert odd(text) == ""
        assert "202e" in text


def test_no_command_lets_a_name_control_the_terminal(
    terminal: Terminal, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / f"terminal {STORABLE}"
    capture(folder / f"good {STORABLE}.pcap")
    capture(folder / f"refused {ODD}.pcap")
    capture(folder / os.fsdecode(b"bytes \xe9\xff.pcap"))
    (folder / f"text {STORABLE}.pcap").write_text("no capture")
    key = f"{folder.name}/good {STORABLE}.pcap"
    answers = tmp_path / f"answers {ODD}.jsonl"
    answers.write_text(f'{{"{STORABLE}": 1}}\n')
    results = [
        terminal("ingest", folder),
        terminal("ingest", tmp_path / f"nowhere {ODD}"),
        terminal("ingest", folder, "--filter", f"tcp {ODD}"),
        terminal("ingest", "--failed", "--name", ODD),
        terminal("status"),
        terminal("status", "--json"),
        terminal("verify", "--capture", key),
        terminal("verify", "--name", ODD),
        terminal("verify", "--json"),
        terminal("refresh", "--capture", key),
        terminal("refresh", ODD),
        terminal("refresh", ODD, "--as-of", ODD),
        terminal("report", ODD),
        terminal("report", folder.name, "--output", tmp_path / f"report {ODD}.html"),
        terminal("cache", "show"),
        terminal("cache", "check"),
        terminal("cache", "export", tmp_path / f"export {ODD}"),
        terminal("cache", "import", answers),
        terminal("purge", "--capture", key, "--dry-run"),
        terminal("purge", "--capture", key, "--yes"),
        terminal("purge", "--capture", ODD),
        terminal("compact", "--dry-run"),
        terminal(ODD),
        terminal("status", f"--{ODD}"),
    ]
    assert [odd(result.out + result.err) for result in results] == [""] * len(results)
    assert (
        results[0].out
        == f"{visible(key)}: 2 packets, 2 rows in packets_{lab.record(key).experiment}\n"
    )
    # JSON is for programs, which get the key unchanged.
    assert key in [record["key"] for record in json.loads(results[5].out)]

    failing = wrapper(
        tmp_path / "tshark", "printf '\\033[31mred\\033]0;title\\007 \\342\\200\\256' >&2; exit 2"
    )
    monkeypatch.setenv("MT_TSHARK", str(failing))
    failed = terminal(
        "ingest", write_pcap(tmp_path / "fails.pcap", timed(dns())), "--name", f"fails {STORABLE}"
    )
    assert (failed.code, odd(failed.out + failed.err)) == (1, "")
    assert "\\u001b[31mred" in failed.err
    assert odd(lab.record(f"fails {STORABLE}/fails.pcap").error or "") == ""


def test_bars_show_names_as_they_are_and_control_only_themselves(lab: Lab, tmp_path: Path):
    """What is in brackets is no markup of theirs."""
    folder = tmp_path / f"bars [red] {STORABLE}"
    for number in range(2):
        capture(folder / f"{number} [x] {STORABLE}.pcap")
    ours, its = pty.openpty()
    with (
        os.fdopen(ours, "rb", buffering=0) as screen,
        program("ingest", folder, settings=lab.settings(), stderr=its) as process,
    ):
        os.close(its)
        drawn = b""
        with suppress(OSError):  # the end, on Linux
            while part := screen.read(4096):
                drawn += part
        out = process.stdout.read()
    assert process.returncode == 0
    assert (odd(out), out.count("rows in")) == ("", 2)
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", drawn.decode("utf-8", "ignore"))  # a bar's own
    assert odd(text.replace("\r", "")) == ""


def redirected(how: str, *arguments: str | Path, lab: Lab) -> Result:
    """Run a command whose streams a shell redirects."""
    prefix = ["sh", "-c", f'exec "$@" {how}', "sh"]
    return ended(program(*arguments, settings=lab.settings(), prefix=prefix))


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_ends_no_command(lab: Lab, how: str):
    result = redirected(how, "status", lab=lab)
    assert (result.code, result.err) == (0, "")
    assert bool(result.out) == (">&-" not in how.split())


def test_a_question_without_an_input_is_answered_by_no(lab: Lab):
    capture(lab.inbox / "unanswered" / "a.pcap")
    assert lab.run("unanswered/a.pcap").success
    result = redirected("<&-", "purge", "--name", "unanswered", lab=lab)
    assert (result.code, "Traceback" in result.err) == (130, False)
    assert result.err.endswith("cancelled\n")


@pytest.mark.parametrize("how", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_capture_is_loaded_though_nobody_can_be_told(lab: Lab, tmp_path: Path, how: str):
    folder = f"told {how.count('-')} {how[0]}"
    result = redirected(how, "ingest", capture(tmp_path / folder / "a.pcap").parent, lab=lab)
    assert result.code == 0
    assert lab.record(f"{folder}/a.pcap").rows == 2


def test_a_stream_that_cannot_be_written_is_named_and_no_disk_of_ours(lab: Lab):
    result = redirected(">/dev/full", "status", lab=lab)
    assert result == Result(
        1,
        "",
        "mt-pipeline: stdout cannot be written (No space left on device): "
        "make room where it goes to, or send it elsewhere\n",
    )
    assert redirected(">/dev/full", "--help", lab=lab).err == result.err
