"""The sandbox of tshark: no network, no other processes, no files but its capture and the system's.

tshark parses what strangers send. bubblewrap makes the sandbox, if it is installed and the system
permits it; many containers do not. A tshark of the user's own, a script or in another folder, may
need more than we know of, and works without a sandbox.
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
_LISTS = [
    Path("/usr/share/wireshark", name) for name in ("manuf", "services", "wka", "enterprises.tsv")
]
"""Names of vendors and ports, four megabytes of text that tshark reads for each capture.

Our columns show none of them. A display filter may ask for them. Newer releases have no such files.
"""
_NEEDED = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/wireshark")


def confines(program: str) -> bool:
    """Return whether a program can be confined on this machine."""
    path = Path(program).resolve()
    try:
        with path.open("rb") as file:
            is_binary = file.read(4) == b"\x7fELF"
    except OSError:
        return False
    return is_binary and path.is_relative_to(_SYSTEM) and works()


def reads(capture: Path) -> bool:
    """Return whether a confined program may read a capture.

    Its root has no more rights than other users, as those would open any file of the disk.
    """
    if os.geteuid() != 0:
        return True
    status = capture.stat()
    by_owner = 0o400 if status.st_uid == 0 else 0
    by_group = 0o040 if status.st_gid == 0 else 0
    return bool(status.st_mode & (by_owner | by_group | 0o004))


def confined(command: Sequence[str], *visible: Path, ends_with_parent: bool = False) -> list[str]:
    """Return a command that runs confined.

    Args:
        command: programs of the system. Without a display filter, tshark finds its lists empty.
        visible: further files and folders that it may read, each an absolute path.
        ends_with_parent: whether the kernel ends it with the thread that starts it.
    """
    prefix = [shutil.which("bwrap") or "bwrap"]
    # No user namespace: root needs none, and bubblewrap makes one for other users.
    prefix += [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try")]
    prefix += ["--cap-drop", "ALL"]
    prefix += ["--ro-bind", str(_SYSTEM), str(_SYSTEM), "--proc", "/proc", "--dev", "/dev"]
    prefix += ["--tmpfs", "/tmp"]  # noqa: S108  its own
    if "-Y" not in command:
        for path in filter(Path.exists, _LISTS):
            prefix += ["--dev-bind", os.devnull, str(path)]
    for link in map(Path, _LINKED):
        if link.is_symlink():
            prefix += ["--symlink", str(link.readlink()), str(link)]
        elif link.exists():
            prefix += ["--ro-bind", str(link), str(link)]
    for needed in (*_NEEDED, *map(str, visible)):
        prefix += ["--ro-bind-try", needed, needed]
    if ends_with_parent:
        prefix.append("--die-with-parent")
    return [*prefix, "--chdir", "/", "--", *command]


def python() -> tuple[list[str], list[Path]]:
    """Return the command of a Python without packages, and the folders that it needs."""
    program = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    folders = (Path(sys.base_prefix), program.parent)
    visible = [folder for folder in folders if not folder.is_relative_to(_SYSTEM)]
    return [str(program), "-I", "-S"], visible


def is_missing() -> bool:
    """Return whether bubblewrap is not installed."""
    return shutil.which("bwrap") is None


def works() -> bool:
    """Return whether this machine has sandboxes."""
    return sys.platform == "linux" and not is_missing() and _starts()


@functools.cache
def _starts() -> bool:
    command = confined([shutil.which("true") or "/usr/bin/true"])
    try:
        done = subprocess.run(
            command, env=environment(), capture_output=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
