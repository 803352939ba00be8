"""Starts, shares and stops the embedded QuestDB. What Java is started with is in `java.py`.

Every process that uses the server shares a lock on `users.lock` meanwhile, so that the process
that started it can wait for the others.
"""

import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psycopg
import requests

from mt_pipeline.backends.questdb import java, server_folder
from mt_pipeline.backends.questdb.java import HOST, Reader
from mt_pipeline.backends.questdb.server_errors import FolderInUse
from mt_pipeline.backends.questdb.server_folder import Address, find
from mt_pipeline.system import processes

START_SECONDS = 180
STOP_SECONDS = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server(Address):
    """An embedded server that this process started; as a context manager it stops at the end."""

    folder: Path
    process: subprocess.Popen[bytes]

    def poll(self) -> int | None:
        """Return None while it runs, else its exit status."""
        return self.process.poll()

    def stop(self) -> None:
        """Stop it, whoever uses it. A second call does nothing."""
        recorded = find(self.folder)
        if recorded and recorded.pid == self.pid:
            server_folder.delete_record(self.folder)
        processes.stop(self.process, grace=STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


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
    options: Sequence[str] | None = None,
) -> Server:
    """Start QuestDB on a folder and wait until it answers, 2 to 5 seconds.

    HTTP may only read. Statements that write use PostgreSQL's protocol, and rows come as files. The
    server ends with the calling thread, so call this from one that lives as long as it should.

    Args:
        folder: its data; created if necessary.
        http_port: 0 for any free port.
        pg_port: 0 for any free port.
        user: for HTTP and PostgreSQL.
        password: of that user.
        reader: an optional second user.
        ilp: allow writes over HTTP, like a QuestDB of the user that takes rows by ILP.
        heap: of Java. 128m is too little to start; 256m fails on hundreds of views.
        options: of Java about its cache of classes, see `java.command`.

    Raises:
        ServerError: one of its subclasses; nothing is left running.
    """
    folder = folder.absolute()
    with server_folder.naming_folder(folder), server_folder.claimed(folder) as lock:
        server_folder.note_crash(folder)
        process = java.launch(
            folder,
            http_port=http_port,
            pg_port=pg_port,
            user=user,
            password=password,
            reader=reader,
            ilp=ilp,
            heap=heap,
            options=options,
            lock=lock,
        )
        try:
            address = _wait_until_ready(process, folder, user, password)
            server_folder.record(folder, address)
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
    """Use the running server of a folder, whatever its ports, or start one for this context.

    Yields:
        A `Server` if it was started. It is stopped at the end, after all others who use it.

    Raises:
        ServerError: like `start`.
    """
    folder = folder.absolute()
    with server_folder.naming_folder(folder):
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
    while (running := find(folder)) is None:
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
            # Another process starts or stops a server of ours: try again. A foreign server: raise.
            if not server_folder.is_locked(folder) or time.monotonic() > deadline:
                raise
    return running


def _wait_for_others(users: int) -> None:
    if not server_folder.try_lock(users, fcntl.LOCK_EX):
        _log.warning("another command still uses QuestDB; it stops when that has finished")
        fcntl.flock(users, fcntl.LOCK_EX)


def _wait_until_ready(
    process: subprocess.Popen[bytes], folder: Path, user: str, password: str
) -> Address:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        status = process.poll()
        log = (folder / java.LOG).read_text(errors="replace")
        if status is not None:
            raise java.failure(folder, log, f"ended with status {status}")
        # Read the ports from its log: on the configured ports another program might answer.
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
            response = session.get(f"http://{HOST}:{address.http_port}/ping", timeout=2)
            if response.status_code != requests.codes.no_content:
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
