"""Progress on terminals: wide or narrow, with colours or without, or without a movable cursor."""

import os
import subprocess
import sys

import pytest
from rich.cells import cell_len

from mt_pipeline_tests.terminals import OTHER_TERMINALS, screen

_SCRIPT = """
import sys, time
from mt_pipeline.cli.progress_bars import Bars

with Bars() as bars:
    bars.step("starting")
    bars.expect(40)
    for done in range(0, 200_001, 50_000):
        bars.show(
            "kitchen/[/red] a capture with a name that is long, "
            "and no narrow window has room for it.pcapng",
            "reading", done, 200_000,
        )
        time.sleep(0.15)
    bars.echo("a line")
    bars.end("other.pcap")
    bars.step("stopping QuestDB")
    time.sleep(0.15)
"""


def shown(columns: int, **environment: str) -> tuple[bytes, str]:
    """Run the script; what its terminal was sent, and the text of that."""
    own = {name: value for name, value in os.environ.items() if name not in OTHER_TERMINALS}
    with screen(columns=columns) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            env={**own, "TERM": "xterm-256color", **environment},
            stdin=subprocess.DEVNULL,
            stdout=terminal.device,
            stderr=terminal.device,
        )
        terminal.close()
        text = terminal.ends()
        assert process.wait() == 0
    return terminal.sent, text


@pytest.mark.parametrize("columns", [20, 40, 59, 80, 200])
def test_no_line_is_longer_than_the_terminal_is_wide(columns: int):
    """A line that is wrapped is drawn over in part only, and fills the screen with what is left."""
    _, text = shown(columns)

    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert "a line" in [line.strip() for line in lines]
    assert any("200,0" in line and ("/" in line) for line in lines), (
        "the numbers are there, whatever else there is no room for"
    )


def test_a_wide_one_has_what_is_done_how_fast_it_goes_and_how_long_it_takes_still():
    sent, text = shown(120)

    assert any(
        line.startswith("reading …")
        and "for it.pcapng" in line
        and "100,000/200,000 packets" in line
        and "/s" in line
        and " left" in line
        for line in text.splitlines()
    )
    assert "stopping QuestDB" in text
    assert b"\x1b[38;" in sent or b"\x1b[35m" in sent, "colours"
    assert sent.rstrip().endswith(b"\x1b[2K") or b"\x1b[?25h" in sent, "the cursor is back"


def test_without_colours_there_are_none():
    sent, text = shown(120, NO_COLOR="1")

    assert "reading …" in text
    assert not any(b"\x1b[3%dm" % colour in sent for colour in range(8))
    assert b"\x1b[38;" not in sent


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines():
    sent, text = shown(80, TERM="dumb")

    assert b"\x1b" not in sent
    assert [line for line in text.splitlines() if line] == ["starting", "a line"]


def test_what_is_no_terminal_gets_lines_and_nothing_else():
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FORCE_COLOR": "1"},
    )

    assert (done.stdout, done.stderr) == ("a line\n", "")
