"""Where tshark works: without a network, other processes, or any file but the programs of the system and its capture.

It parses what strangers send. This is bubblewrap's work, where that is installed and the system permits it; many containers do not. A tshark of the
user's own, below another folder or a script, may need more than we know of, and works without.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mt_pipeline.system.processes import environment

_SECONDS = 30
_SYSTEM = Path("/usr")
_LINKED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_NEEDED = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/wireshark")


def confines(program: str) -> bool:
    """Say whether a program can be confined here."""
    path = Path(program).resolve()
    try:
        with path.open("rb") as file:
            is_binary = file.read(4) == b"\x7fELF"
    except OSError:
        return False
    return is_binary and path.is_relative_to(_SYSTEM) and _works()


def reads(capture: Path) -> bool:
    """Say whether a confined program may read a capture: root there has no more rights than others, as those would open any file of the disk."""
    if os.geteuid() != 0:
        return True
    found = capture.stat()
    return bool(
        found.st_mode
        & ((0o400 if found.st_uid == 0 else 0) | (0o040 if found.st_gid == 0 else 0) | 0o004)
    )


def confined(command: Sequence[str], *visible: Path) -> list[str]:
    """Prefix a command so that it is confined.

    Args:
        command: programs of the system.
        visible: files and folders that it may read besides, each an absolute path.
    """
    prefix = [shutil.which("bwrap") or "bwrap"]
    # Not those of users, for root: bubblewrap makes one for others.
    prefix += [f"--unshare-{what}" for what in ("ipc", "pid", "net", "uts", "cgroup-try")]
    prefix += ["--cap-drop", "ALL"]
    prefix += [
        "--ro-bind",
        str(_SYSTEM),
        str(_SYSTEM),
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",  # noqa: S108
    ]  # noqa: RUF100, S108
    for link in map(Path, _LINKED):
        if link.is_symlink():
            prefix += ["--symlink", str(link.readlink()), str(link)]
        elif link.exists():
            prefix += ["--ro-bind", str(link), str(link)]
    for path in (*_NEEDED, *map(str, visible)):
        prefix += ["--ro-bind-try", path, path]
    return [*prefix, "--chdir", "/", "--", *command]


def python() -> tuple[list[str], list[Path]]:
    """Give a Python without packages, and the folders that it needs."""
    program = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return [str(program), "-I", "-S"], [
        folder
        for folder in (Path(sys.base_prefix), program.parent)
        if not folder.is_relative_to(_SYSTEM)
    ]


def is_missing() -> bool:
    """Say whether bubblewrap is not installed."""
    return shutil.which("bwrap") is None


def _works() -> bool:
    return sys.platform == "linux" and not is_missing() and _starts()


@functools.cache
def _starts() -> bool:
    try:
        tried = confined([shutil.which("true") or "/usr/bin/true"])
        return (
            subprocess.run(
                tried, env=environment(), capture_output=True, check=False, timeout=_SECONDS
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
