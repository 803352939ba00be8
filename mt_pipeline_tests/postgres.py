"""A Postgres of the tests: Debian's, on a free port, with a password, as fast as it can be."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from mt_pipeline.state.postgres import SCHEMA, Postgres, made
from mt_pipeline_tests.compose import postgres_programs
from mt_pipeline_tests.services import eventually, free_ports

PASSWORD = "p@ss:w/o rd%20"


def as_argument(place: Path | Postgres) -> str:
    """Return a place as an argument of a program; `place_of` reads it."""
    return str(place) if isinstance(place, Path) else f"{place.url} {place.password}"


def place_of(argument: str) -> Path | Postgres:
    """Return the place of an argument."""
    if not argument.startswith("postgresql:"):
        return Path(argument)
    url, _, password = argument.partition(" ")
    return Postgres(url, password)


class Server:
    """A server with a database for the state of one data folder at a time.

    Args:
        host: the address that it listens on.
        most: connections that it bears.
    """

    def __init__(self, *, host: str = "127.0.0.1", most: int = 50) -> None:
        self._host, self._most = host, most
        # Postgres refuses root, and whoever it runs as instead may not enter the folders of tests.
        self._folder = Path(tempfile.mkdtemp(prefix="mt-state-"))
        self._programs = Path(postgres_programs())
        [self.port] = free_ports(1)
        self.state = Postgres(f"postgresql://lab@{host}:{self.port}/postgres", PASSWORD)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self._folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._run(
            "initdb", "-U", "lab", f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8", "-N",
            "-D", f"{self._folder}/data",
        )  # fmt: skip
        with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")
        self.start()

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [
                *self._someone, self._programs / "postgres", "-D", f"{self._folder}/data",
                "-h", self._host, "-p", str(self.port), "-k", self._folder,
                "-c", "fsync=off", "-c", "shared_buffers=16MB",
                "-c", f"max_connections={self._most}",
            ],
            stderr=subprocess.DEVNULL,
            cwd="/",
        )  # fmt: skip
        assert eventually(self._answers)

    def kill(self) -> None:
        """End it and its processes at once, as a crash does."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        self._process.wait(60)

    def close(self) -> None:
        """End it, and delete all of it."""
        self.kill()
        shutil.rmtree(self._folder)

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Run a statement, and return its rows."""
        with self.state.connect(autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Drop all that is stored."""
        self.sql(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        made.clear()

    def cut(self) -> None:
        """End all connections, as a network that is away for long does."""
        self.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE application_name = 'mt_pipeline' AND pid <> pg_backend_pid()"
        )

    @property
    def _someone(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._someone, str(self._programs / program), *arguments]
        subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, check=True)

    def _answers(self) -> bool:
        try:
            self.state.connect().close()
        except psycopg.OperationalError:
            assert self._process.poll() is None
            return False
        return True
