"""What a service with a broker needs before it starts, and what it tells the workers.

A service without one imports none of it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import urlsplit

from mt_pipeline import __version__
from mt_pipeline.cluster.members import Members, Versions
from mt_pipeline.errors import CommandError, SettingsError
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.versions import CODE_VERSIONS, version
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline.state.advisory import BusyError, Locks
from mt_pipeline.state.postgres import Postgres, StateError
from mt_pipeline.tshark.errors import TsharkError

AGAIN_SECONDS = 5
_PACKAGES = ("dagster_celery", "dagster_postgres", "redis")

Echo = Callable[[str], None]


class ClusterError(CommandError):
    """This machine cannot work in the cluster."""


def check(options: Options) -> Postgres:
    """Refuse settings that several machines cannot share; return where their state is.

    Raises:
        SettingsError: the message names the variable.
        ClusterError: the packages are not installed.
    """
    if options.broker_url is None:
        raise SettingsError("MT_BROKER_URL is not set: it names the Redis that hands out runs")
    if not all(map(find_spec, _PACKAGES)):
        raise ClusterError(
            "MT_BROKER_URL needs packages that are not installed: "
            "`make cluster`, or `pip install 'mt_pipeline[cluster]'`"
        )
    if options.state is None:
        raise SettingsError(
            "MT_BROKER_URL needs MT_STATE_URL, too: "
            "files of the data folder cannot keep several machines apart, a Postgres can"
        )
    if options.embeds_questdb:
        raise SettingsError(
            "MT_BROKER_URL needs MT_QUESTDB_HOST, too: other machines cannot reach the QuestDB "
            "that is embedded here. Name one of your own, or set MT_BACKENDS=parquet"
        )
    return options.state


def versions(workspace: Workspace) -> Versions:
    """Return the versions of this machine."""
    package = f"{__version__} ({version(CODE_VERSIONS)})"
    try:
        return Versions(package, workspace.tshark.version)
    except TsharkError:
        return Versions(package, None)


def refusal(head: Versions, mine: Versions) -> str | None:
    """Return why a worker of these versions must not work for a head of those; None if it may."""
    cure = "install the same here, then start this worker again"
    if head.package != mine.package:
        return f"the head has mt_pipeline {head.package}, and this machine {mine.package}: {cure}"
    if head.tshark and head.tshark != mine.tshark:
        here = mine.tshark or "none"
        return (
            f"the head has tshark {head.tshark}, and this machine {here}: {cure}. "
            "Documents of another version would all be made anew"
        )
    return None


def wait(options: Options, stopped: threading.Event, echo: Echo) -> bool:
    """Wait until broker and Postgres answer; return False if that was stopped."""
    from mt_pipeline.cluster import broker  # after `check`

    celery, said = broker.app(options), ""
    while not stopped.is_set():
        reason = broker.answers(celery)
        missing = f"waits for the broker at {options.broker_url}: {reason}" if reason else ""
        if not missing and options.state:
            try:
                Members(options.state).workers()
            except StateError as error:
                missing = f"waits for Postgres: {error}"
        if not missing:
            return True
        if missing != said:
            echo(missing)
            said = missing
        stopped.wait(AGAIN_SECONDS)
    return False


def of_this_machine_alone(options: Options) -> list[str]:
    """Return the settings whose address only this machine understands."""
    addresses = {
        "MT_STATE_URL": urlsplit(options.state_url or "").hostname,
        "MT_BROKER_URL": urlsplit(options.broker_url or "").hostname,
        "MT_QUESTDB_HOST": options.questdb_host if options.has_questdb else None,
    }
    return [
        name
        for name, host in addresses.items()
        if host and (host == "localhost" or host.startswith("127.") or host in ("::1", "[::1]"))
    ]


@contextmanager
def led(settings: Settings, workspace: Workspace, state: Postgres) -> Iterator[None]:
    """Be the head of the cluster until the block ends.

    Raises:
        ClusterError: another machine is.
    """
    from mt_pipeline.cluster import joining

    try:
        with Locks(state, "head").alone(timeout=0):
            Members(state).lead(versions(workspace))
            joining.write(settings)
            yield
    except BusyError:
        raise ClusterError(
            f"another service is the head of the cluster of {state}: stop it, "
            "or start `mt-pipeline worker` on this machine"
        ) from None
