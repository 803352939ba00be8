"""Redis and QuestDB of the cluster's tests, which listen on the address of a network."""

import os
import signal
import subprocess
from pathlib import Path

import requests
from dotenv import dotenv_values
from redis import Redis
from redis.exceptions import RedisError

from mt_pipeline.backends.questdb import java
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.system.processes import bound
from mt_pipeline_tests.services import eventually, free_ports

PASSWORD = "br0ker p@ss/w:d"


class Broker:
    """Debian's Redis, with a password, as compose.cluster.yml would have it.

    Args:
        folder: for its data.
        host: the address that it listens on.
    """

    def __init__(self, folder: Path, *, host: str) -> None:
        folder.mkdir()
        [self.port] = free_ports(1)
        self.host, self._folder = host, folder
        self._configuration = folder / "redis.conf"
        self._configuration.write_text(
            f'bind {host}\nport {self.port}\ndir {folder}\nrequirepass "{PASSWORD}"\nsave ""\n'
        )
        self.client = Redis(host, self.port, password=PASSWORD)
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            bound(["redis-server", str(self._configuration)]), stdout=subprocess.DEVNULL
        )
        assert eventually(self._answers)

    def kill(self) -> None:
        """End it at once; it has forgotten everything then."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None
        try:
            return bool(self.client.ping())
        except RedisError:
            return False


class QuestDb:
    """A QuestDB of the user's own.

    Args:
        folder: for its data.
        host: the address that it listens on.
    """

    def __init__(self, folder: Path, *, host: str) -> None:
        (folder / "java-tmp").mkdir(parents=True)
        http, pg = free_ports(2)
        environment = {
            **{name: value or "" for name, value in dotenv_values(java.SETTINGS).items()},
            "QDB_HTTP_NET_BIND_TO": f"{host}:{http}",
            "QDB_PG_NET_BIND_TO": f"{host}:{pg}",
            "QDB_HTTP_USER": "admin",
            "QDB_HTTP_PASSWORD": "quest",
            "PATH": os.environ["PATH"],
        }
        command = java.command(folder, temporary=folder / "java-tmp", heap="512m")
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                bound(command), env=environment, stdout=log, stderr=log
            )
        self.database = Database(host, http, pg, "admin", "quest")
        assert eventually(self._answers), self.log.read_text()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.database.console}/ping", timeout=5).ok
        except requests.RequestException:
            return False
