"""The part of `make setup` after the Python packages: tshark, the QuestDB jar, Dagster's home.

You can repeat it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from mt_pipeline.backends.questdb.classes import prepared_jar
from mt_pipeline.backends.questdb.server_errors import ServerError
from mt_pipeline.errors import SettingsError
from mt_pipeline.service import class_cache, dagster_home
from mt_pipeline.settings import Settings, load
from mt_pipeline.system import private, terminal
from mt_pipeline.tshark import sandbox
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import TsharkError, TsharkMissing

_SLOWER = (
    "; it starts anew for each capture, which makes small ones slow: "
    "install lua-posix, if your system has it"
)
_OPEN = (
    "tshark works without a sandbox, though it parses what strangers send: install bubblewrap; "
    "it is for a tshark of the system, and not every container permits it"
)

Install = Callable[[str], bool]


def install_package(package: str) -> bool:
    """Install a package of Debian or Ubuntu, if that needs no password; return whether it tried."""
    apt, sudo = shutil.which("apt-get"), [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (
        sudo and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode
    ):
        return False
    _print(f"{package} is missing: installing it from the packages of this system")
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", package]):
        subprocess.run(
            [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", apt, *command],
            stdout=subprocess.DEVNULL,
            check=False,
        )
    return True


@terminal.shown()
def main(*, install: Install = install_package) -> int:
    """Set up, and print what was done.

    Args:
        install: installs a package of the system; returns whether it tried.

    Returns:
        Exit status: 1 after a line with the cure if something is missing.
    """
    private.files()
    try:
        settings = load()
        options = settings.options()
        _prepare_tshark(settings, install)
        if options.embeds_questdb:
            _prepare_questdb()
        dagster_home.prepare(options)
        if options.embeds_questdb and not options.questdb_password:
            _print(
                f"QuestDB's user {options.questdb_user} "
                f"has the password in {options.questdb_password_file}"
            )
        _print(f"data folder {options.data_dir}, watched folder {options.inbox_dir}")
    except (SettingsError, TsharkError, ServerError, OSError) as error:
        print(f"make setup: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _prepare_questdb() -> None:
    """Fetch QuestDB; in a new environment also make what lets it start faster."""
    _print(f"QuestDB at {prepared_jar()}")
    try:
        class_cache.make()
    except (ServerError, OSError) as error:
        _print(f"QuestDB will take a second longer to start: no cache of its classes: {error}")


def _prepare_tshark(settings: Settings, install: Install) -> None:
    """Find tshark; on a new machine also install what makes it faster and confines it."""
    tshark = _tshark(settings.tshark, install)
    is_new = not settings.data_dir.exists()
    forks = tshark.forks() or (is_new and install("lua-posix") and tshark.forks())
    _print(f"tshark {tshark.version} at {tshark.program}{'' if forks else _SLOWER}")
    if not tshark.is_confined and not (
        is_new and sandbox.is_missing() and install("bubblewrap") and tshark.is_confined
    ):
        _print(_OPEN)


def _tshark(program: str, install: Install) -> Tshark:
    """Return tshark; install it if it is missing and the setting names no other program."""
    try:
        return Tshark.find(program)
    except TsharkMissing:
        if program != "tshark" or not install("tshark"):
            raise
    return Tshark.find(program)


def _print(line: str) -> None:
    print(f"make setup: {line}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
