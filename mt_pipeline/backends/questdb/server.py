"""The embedded QuestDB: its start, who else may use it, its end. What Java is told is in `java.py`; what is in the tables is not known here.

The Java process inherits a lock on `server.lock` in its folder and so holds it exactly as long as it lives: that lock, not the recorded
process id, tells whether the server of a folder is alive and ours. Whoever uses the server holds a share of `users.lock` meanwhile.
"""

import fcntl
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psycopg
import requests

from mt_pipeline.backends.questdb import java
from mt_pipeline.backends.questdb.java import HOST, FolderInUse, FolderUnusable, Reader
from mt_pipeline.system import processes

START_SECONDS = 180
STOP_SECONDS = 20
_RECORD = "server.json"
_LOCK = "server.lock"
_CRASHED = "crashed"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """A running embedded server: its process and its ports on 127.0.0.1."""

    pid: int
    http_port: int
    pg_port: int


@dataclass(frozen=True)
class Server(Address):
    """An embedded server that we started; as a context manager it stops at the end."""

    folder: Path
    process: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        """Return None while it lives, else its exit status."""
        return self.process.poll()

    def stop(self) -> None:
        """Stop it, whoever uses it; again does nothing."""
        recorded = find(self.folder)
        if recorded and recorded.pid == self.pid:
            (self.folder / _RECORD).unlink(missing_ok=True)
        processes.stop(self.process, grace=STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def find(folder: Path) -> Address | None:
    """Return the server that this project started on a folder, in whatever process, if it is ready and alive."""
    try:
        address = Address(**json.loads((folder / _RECORD).read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
    return address if _held(folder) else None


def has_crashed(folder: Path) -> bool:
    """Say whether its server once ended in disorder, and nobody has looked since what that did to the tables."""
    return (folder / _CRASHED).exists() or ((folder / _RECORD).exists() and not _held(folder))


def forget_crash(folder: Path) -> None:
    """Note that somebody has looked."""
    (folder / _CRASHED).unlink(missing_ok=True)


def start(
    folder: Path,
    *,
    http_port: int,
    pg_port: int,
    user: str,
    password: str,
    reader: Reader | None = None,
    ilp: bool = False,
    heap: str = "512m",
) -> Server:
    """Start QuestDB on a folder and wait until it answers, 2 to 5 seconds.

    Over HTTP one may only read: what writes comes by PostgreSQL, and rows come as files.
    It ends with the calling thread: call from one that lives as long as the server should.

    Args:
        folder: its data; made if not there.
        http_port: 0 for any free one.
        pg_port: 0 for any free one.
        user: for HTTP and PostgreSQL both.
        password: of that user.
        reader: a second user, if there is to be one.
        ilp: let HTTP write, too, as a QuestDB of the user's own does that takes rows by ILP.
        heap: Java's heap at most. 128m is too little to start; with 256m large queries of dashboards found none left beside hundreds of views.

    Raises:
        ServerError: one of its kinds; nothing is left running.
    """
    folder = folder.absolute()
    with _writing(folder), _claimed(folder) as lock:
        if (folder / _RECORD).exists():  # whoever stops it in order takes this away
            (folder / _CRASHED).touch()
        (folder / _RECORD).unlink(missing_ok=True)
        process = java.launch(
            folder,
            http_port=http_port,
            pg_port=pg_port,
            user=user,
            password=password,
            reader=reader,
            ilp=ilp,
            heap=heap,
            lock=lock,
        )
        try:
            address = _wait_until_ready(process, folder, user, password)
            beside = folder / f"{_RECORD}.part"
            beside.write_text(json.dumps(asdict(address)))
            beside.replace(folder / _RECORD)
        except BaseException:
            processes.stop(process, grace=STOP_SECONDS)
            raise
    return Server(**asdict(address), folder=folder, process=process)


@contextmanager
def use(
    folder: Path,
    *,
    http_port: int,
    pg_port: int,
    user: str,
    password: str,
    reader: Reader | None = None,
) -> Iterator[Address]:
    """Use the server of a folder while the context lasts: the running one, whatever its ports, else one started for it.

    A started one is a `Server`. It is stopped at the end of the context, after all others who came to use it meanwhile have finished.

    Raises:
        ServerError: as `start`.
    """
    folder = folder.absolute()
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a server is being stopped
        server = _find_or_start(
            folder,
            http_port=http_port,
            pg_port=pg_port,
            user=user,
            password=password,
            reader=reader,
        )
        try:
            yield server
        finally:
            if isinstance(server, Server):
                with server:
                    _wait_for_others(users)
    finally:
        os.close(users)


def _find_or_start(
    folder: Path, *, http_port: int, pg_port: int, user: str, password: str, reader: Reader | None
) -> Address:
    deadline = time.monotonic() + START_SECONDS
    while (found := find(folder)) is None:
        try:
            return start(
                folder,
                http_port=http_port,
                pg_port=pg_port,
                user=user,
                password=password,
                reader=reader,
            )
        except FolderInUse:
            # Ours, being started or stopped by another process: a moment's patience. Not ours: its own message.
            if not _held(folder) or time.monotonic() > deadline:
                raise
    return found


def _wait_for_others(users: int) -> None:
    if not _locked(users, fcntl.LOCK_EX):
        _log.warning("another command still uses QuestDB; it stops when that has finished")
        fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FolderUnusable(
            f"{folder} cannot hold QuestDB's data: {reason}; make room, or set MT_DATA_DIR to another folder"
        ) from error


@contextmanager
def _claimed(folder: Path) -> Iterator[int]:
    """Lock a folder for one server; the lock lives on in a process that inherits the descriptor."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + 1  # `find` of another process holds it for an instant
        while not _locked(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                pid = os.pread(lock, 20, 0).decode() or "unknown"
                raise FolderInUse(
                    f"QuestDB already runs on {folder}, as process {pid}; stop it, or set MT_DATA_DIR to another folder"
                )
            time.sleep(0.05)
        os.ftruncate(lock, 0)
        yield lock
    finally:
        os.close(lock)


def _held(folder: Path) -> bool:
    """Tell whether a server, or someone about to start it, has the folder's lock."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _locked(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _locked(descriptor: int, kind: int) -> bool:
    """Lock it if that is possible at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until_ready(
    process: subprocess.Popen[bytes], folder: Path, user: str, password: str
) -> Address:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        status = process.poll()
        log = (folder / java.LOG).read_text(errors="replace")
        if status is not None:
            raise java.failure(folder, log, f"ended with status {status}")
        # Only its own word tells which ports are its own: a stranger there would answer as well.
        if ports := java.ports(log):
            address = Address(process.pid, *ports)
            if _answers(address, user, password):
                return address
        time.sleep(0.05)
    raise java.failure(folder, log, f"was not ready within {START_SECONDS} s")


def _answers(address: Address, user: str, password: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy for this machine
            if (
                session.get(f"http://{HOST}:{address.http_port}/ping", timeout=2).status_code
                != requests.codes.no_content
            ):
                return False
        psycopg.connect(
            host=HOST,
            port=address.pg_port,
            user=user,
            password=password,
            dbname="qdb",
            sslmode="disable",
            connect_timeout=2,
        ).close()
    except (requests.RequestException, psycopg.OperationalError):
        return False
    return True
