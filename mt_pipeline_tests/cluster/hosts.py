"""A cluster as the tests start it: a head and a worker on hosts of their own, and the servers."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State
from mt_pipeline_tests import postgres
from mt_pipeline_tests.cluster import servers
from mt_pipeline_tests.cluster.network import Host, Network, network
from mt_pipeline_tests.cluster.servers import Broker, QuestDb
from mt_pipeline_tests.pipelines import TSHARK, wrapper
from mt_pipeline_tests.services import SECONDS, eventually

SLOTS = 2

_PROGRAM = [sys.executable, "-m", "mt_pipeline.cli.main"]
_ASK = """
import json, sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:3000/graphql", sys.argv[1].encode(),
                                 {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


@dataclass
class Cluster:
    """A cluster with its servers. Both hosts have the data folder."""

    folder: Path
    network: Network
    postgres: postgres.Server
    broker: Broker
    questdb: QuestDb
    head: Host
    other: Host
    more: dict[str, str]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def inbox(self) -> Path:
        return self.data / "inbox"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.postgres.state)

    def environment(self, **more: str) -> dict[str, str]:
        """Return what a machine is told, with its secrets."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "MT_STATE_PASSWORD": postgres.PASSWORD,
            "MT_BROKER_PASSWORD": servers.PASSWORD,
            "MT_QUESTDB_PASSWORD": self.questdb.database.password,
            "MT_SLOTS": str(SLOTS),
            "MT_TSHARK": str(self.folder / "tshark"),
            "READS": str(self.folder / "reads"),
            **more,
        }

    def settings(self) -> dict[str, str]:
        """Return what the head alone is told."""
        database = self.questdb.database
        return {
            "MT_DATA_DIR": str(self.data),
            "MT_STATE_URL": self.postgres.state.url,
            "MT_BROKER_URL": self.broker.url,
            "MT_QUESTDB_HOST": database.host,
            "MT_QUESTDB_HTTP_PORT": str(database.http_port),
            "MT_QUESTDB_PG_PORT": str(database.pg_port),
            "MT_SETTLE_SECONDS": "1",
            "MT_ENRICHMENT": "none",
            **self.more,
        }

    def start_head(self) -> None:
        """Start the service, and wait until it is ready."""
        log = self.log("head")
        before = log.read_text().count("Ctrl-C stops everything") if log.exists() else 0
        self.service = self.head.start(
            *_PROGRAM,
            "run",
            environment=self.environment(**self.settings()),
            output=str(log),
        )
        assert eventually(
            lambda: (
                self.service.poll() is not None
                or log.read_text().count("Ctrl-C stops everything") > before
            )
        )
        assert self.service.poll() is None, log.read_text()

    def start_worker(self, **more: str) -> None:
        """Start the worker of the other host."""
        self.worker = self.other.start(
            *_PROGRAM,
            "worker",
            "--join",
            str(self.data),
            environment=self.environment(**more),
            output=str(self.log("other")),
        )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n{self.log(name).read_text()[-6000:]}"
            for name in ("head", "other")
            if self.log(name).exists()
        )

    def stop(self, *processes: psutil.Process) -> None:
        """End programs of ours in order, by the signal that a terminal sends."""
        for process in processes:
            process.send_signal(signal.SIGINT)

    def ask(self, query: str, **variables: object) -> dict[str, object]:
        """Ask Dagster's API on the head, as its page does."""
        question = json.dumps({"query": query, "variables": variables})
        done = self.head.run(sys.executable, "-c", _ASK, question, environment=self.environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    def runs(self) -> list[dict[str, object]]:
        """Return the runs with status and tags, the last one first."""
        query = "{runsOrError {... on Runs {results {runId status jobName tags {key value}}}}}"
        runs = self.ask(query)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]

    def left(self, keys: object) -> list[str]:
        """Return which captures are not done."""
        records = {record.key: record.state for record in self.ledger.records()}
        return [key for key in keys if records.get(key) is not State.DONE]  # type: ignore[attr-defined]

    def wait_for(self, keys: object, *, seconds: float = SECONDS) -> None:
        """Wait until captures are done."""
        assert eventually(lambda: not self.left(keys), seconds=seconds), (
            self.left(keys),
            self.ledger.records(),
            self.logs(),
        )

    def reads(self) -> list[str]:
        """Return the captures that tshark has read, once for each time."""
        file = self.folder / "reads"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.removeprefix(f"{self.inbox}/") for line in lines]


@contextmanager
def cluster(folder: Path, **more: str) -> Iterator[Cluster]:
    """Start servers, a head and a worker; wait until both work. Keywords are variables of both."""
    os.umask(0o077)
    folder.chmod(0o755)
    script = (
        f'( while [ "$1" != -r ]; do shift; done; echo "$2" >> {folder / "reads"} )\n'
        'case "$*" in *slow*) exec sleep 300 ;; *) exec "$TSHARK" "$@" ;; esac'
    )
    wrapper(folder / "tshark", script)
    assert TSHARK
    with network() as net:
        state = postgres.Server(host=net.address, most=150)
        redis = Broker(folder / "redis", host=net.address)
        questdb = QuestDb(folder / "questdb", host=net.address)
        made = Cluster(
            folder, net, state, redis, questdb, net.host("lab1", 11), net.host("lab2", 12), more
        )
        try:
            made.start_head()
            made.start_worker()
            assert eventually(lambda: "works for the cluster" in made.log("other").read_text()), (
                made.logs()
            )
            yield made
        finally:
            made.other.power_off()
            made.head.power_off()
            questdb.stop()
            redis.kill()
            state.close()
