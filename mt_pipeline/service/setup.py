"""What `make setup` does once the Python packages are there: tshark, the QuestDB jar, the data folders, Dagster's settings.

All of it can be repeated.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from mt_pipeline.backends.questdb.jar import jar
from mt_pipeline.backends.questdb.server_errors import ServerError
from mt_pipeline.errors import SettingsError
from mt_pipeline.pipeline.options import Options
from mt_pipeline.settings import PROJECT, load
from mt_pipeline.system import private, terminal
from mt_pipeline.system.atomic import whole
from mt_pipeline.system.passwords import password_in
from mt_pipeline.system.processes import cores
from mt_pipeline.tshark import sandbox
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import TsharkError, TsharkMissing

# Not in `dagster.yaml` itself, which `dagster dev` finds in the project's folder without DAGSTER_HOME.
_STORAGE = """storage: # what Dagster has by itself, with connections that are kept: an event takes less than half the time
  custom:
    module: mt_pipeline.defs.storage
    class: Storage
    config: {base_dir: {env: DAGSTER_HOME}}
"""

_SLOWER = "; it starts anew for each capture, which makes small ones slow: install lua-posix, if your system has it"
_OPEN = (
    "tshark works without a sandbox, though it parses what strangers send: install bubblewrap; it is for a tshark of the system, "
    "and not every container permits it"
)


def prepare(options: Options) -> Path:
    """Make the data folders, the passwords of QuestDB, and Dagster's settings; a `dagster.yaml` that is there stays as it is.

    Returns:
        DAGSTER_HOME.
    """
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"  # whatever becomes of the file with its settings
    home = options.data_dir / "dagster"
    private.folder(options.data_dir)
    for folder in (options.inbox_dir, home):
        folder.mkdir(parents=True, exist_ok=True)
    if options.embeds_questdb and not options.questdb_password:
        password_in(options.questdb_password_file)
    if options.embeds_questdb and not options.questdb_reader_password:
        password_in(options.questdb_reader_password_file)
    if not (home / "dagster.yaml").exists():
        text = re.sub(
            r"max_concurrent_runs: \d+\b[^}]*}.*",
            f"max_concurrent_runs: {cores()}}} # as many as there are cores",
            (PROJECT / "dagster.yaml").read_text(),
        )
        with whole(home / "dagster.yaml") as partial:
            partial.write_text(text + _STORAGE)
    return home


@terminal.shown()
def main() -> int:
    """Set up, saying what is done; returns 1 after a line that says what to do if it cannot go on."""
    private.files()
    try:
        settings = load()
        tshark = _tshark(settings.tshark)
        is_new = not settings.data_dir.exists()
        forks = tshark.forks() or (is_new and _installed("lua-posix") and tshark.forks())
        _say(f"tshark {tshark.version} at {tshark.program}{'' if forks else _SLOWER}")
        if not tshark.is_confined and not (
            is_new and sandbox.is_missing() and _installed("bubblewrap") and tshark.is_confined
        ):
            _say(_OPEN)
        if settings.embeds_questdb:
            _say(f"QuestDB at {jar()}")
        prepare(settings.options())
        if settings.embeds_questdb and not settings.questdb_password:
            _say(
                f"QuestDB's user {settings.questdb_user} has the password in {settings.questdb_password_file}"
            )
        _say(f"data folder {settings.data_dir}, watched folder {settings.inbox_dir}")
    except (SettingsError, TsharkError, ServerError, OSError) as error:
        print(f"make setup: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _tshark(program: str) -> Tshark:
    """Find tshark; from the packages of this system, if it is missing and we may install it."""
    try:
        return Tshark.find(program)
    except TsharkMissing:
        if program != "tshark" or not _installed("tshark"):
            raise
    return Tshark.find(program)


def _installed(package: str) -> bool:
    """Install a package of Debian or Ubuntu, if we can without a password; says whether it was tried."""
    apt, sudo = shutil.which("apt-get"), [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (
        sudo and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode
    ):
        return False
    _say(f"{package} is missing: installing it from the packages of this system")
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", package]):
        subprocess.run(
            [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", apt, *command],
            stdout=subprocess.DEVNULL,
            check=False,
        )
    return True


def _say(what: str) -> None:
    print(f"make setup: {what}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
