"""How the programs of Wireshark are run: their environment, their versions, what they print.

What is particular to tshark is `command.py`.
"""

import errno
import os
import re
import subprocess
from typing import IO

from mt_pipeline.system import processes
from mt_pipeline.tshark.errors import NAME, TsharkMissing, TsharkSilent

INSTALL = (
    "install it: `sudo apt-get install tshark` (Debian, Ubuntu), "
    "`sudo dnf install wireshark-cli` (Fedora), `brew install wireshark` (macOS)"
)

CUT = "cut short in the middle of a packet"
"""What they print for a capture that ends so."""

DAMAGED = "damaged or corrupt"
"""What they print for a capture that they cannot read to its end."""

UNSUPPORTED = "record data that TShark doesn't support"
"""What tshark prints for versions of formats and types of links that it does not know."""

_NOISE = re.compile(r'^Running as user ".*\n?', re.MULTILINE)
_NOWHERE = "/nonexistent"
"""A folder that never exists, the home of users without one on Debian: a start needs no folder."""

_RUN_SECONDS = 60
"""Many times what a program takes that reads no capture."""

_NOT_THE_PROGRAM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""Errors of a start for which the program is not to blame."""


def environment() -> dict[str, str]:
    """Return the environment of the programs, with an empty profile.

    A user's preferences, columns and plugins must change nothing.
    """
    folders = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "WIRESHARK_CONFIG_DIR"), _NOWHERE)
    return processes.environment(**folders, LC_ALL="C.UTF-8", TZ="UTC")


def run(command: list[str], *, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a program that reads no capture, to its end.

    Raises:
        TsharkMissing: it does not start.
        TsharkSilent: it does not end.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            env=environment(),
            check=False,
            timeout=_RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise TsharkSilent(
            f"{command[0]} did not answer within {_RUN_SECONDS} s: "
            "see whether it runs by hand, then launch again"
        ) from None
    except OSError as error:
        if error.errno in _NOT_THE_PROGRAM:
            raise
        raise TsharkMissing(f"{command[0]} does not start: {error.strerror}; {INSTALL}") from None
    return subprocess.CompletedProcess(
        command,
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


def start(command: list[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program whose output is read as it comes.

    The kernel ends it with the thread that starts it, so that must outlive it.

    Args:
        command: what to start.
        errors: where it writes its errors.
    """
    return subprocess.Popen(
        processes.bound(command),
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment(),
        pipesize=1 << 20,
        start_new_session=True,  # without our terminal, into which it could type
    )


def printed(output: bytes, *names: str) -> str:
    """Decode what a program printed. `NAME` stands for the names of the capture in it.

    What the end of a program means is read from its words, and a name may have any of them.
    """
    for name in names:
        output = output.replace(os.fsencode(name), NAME.encode())
    return output.decode("utf-8", "replace")


def without_noise(stderr: str) -> str:
    """Remove the warning that the programs print when root runs them."""
    return _NOISE.sub("", stderr)
