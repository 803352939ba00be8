"""A cluster as the tests start it: a head and a worker on hosts of their own, and the servers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.launcher import HOST
from mt_pipeline_tests import postgres
from mt_pipeline_tests.cluster import servers
from mt_pipeline_tests.cluster.network import Host, Network, network
from mt_pipeline_tests.cluster.servers import Broker, QuestDb
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.pipelines import TSHARK, capture, wrapper
from mt_pipeline_tests.services import SECONDS, eventually

SLOTS = 2

BUDGET = 20
"""Calls to Netify a day, unless a cluster has another budget."""

NETIFY_KEY = "netify-k3y"

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
    netify: FakeNetify
    head: Host
    other: Host
    tshark: str
    budget: int

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
            "MT_NETIFY_API_KEY": NETIFY_KEY,
            "MT_SLOTS": str(SLOTS),
            "MT_TSHARK": self.tshark,
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
            "MT_NETIFY_URL": self.netify.url,
            "MT_NETIFY_BUDGET_DAY": str(self.budget),
            "MT_NETIFY_RATE": "1000",
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

    def start_worker(self) -> None:
        """Start the worker of the other host, and wait until it works."""
        log = self.log("other")
        before = log.read_text().count("works for the cluster") if log.exists() else 0
        self.worker = self.other.start(
            *_PROGRAM,
            "worker",
            "--join",
            str(self.data),
            environment=self.environment(),
            output=str(log),
        )
        assert eventually(lambda: log.read_text().count("works for the cluster") > before), (
            self.logs()
        )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n{self.log(name).read_text()[-6000:]}"
            for name in ("head", "other")
            if self.log(name).exists()
        )

    def stop_worker(self) -> int:
        """End the worker of the other host as Ctrl-C does; return its exit status."""
        [program] = self.other.named("mt_pipeline.cli.main worker")
        program.send_signal(signal.SIGINT)
        return self.worker.wait(SECONDS)

    def stop(self) -> None:
        """End both programs as Ctrl-C does, and leave the servers."""
        self.stop_worker()
        [program] = self.head.named("mt_pipeline.cli.main run")
        program.send_signal(signal.SIGINT)
        self.service.wait(SECONDS)

    def run_worker(self, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one more worker on the other host to its end."""
        join = ("worker", "--join", str(self.data))
        return self.other.run(*_PROGRAM, *join, environment=self.environment(**more))

    def status(self, run: str | None) -> str:
        """Return the status of a run."""
        [status] = [each["status"] for each in self.runs() if each["runId"] == run]
        return str(status)

    def retry_failed(self) -> int:
        """Try what failed once more, as a person does on the head; return the exit status."""
        command = (*_PROGRAM, "ingest", "--failed")
        environment = self.environment(**self.settings())
        return self.head.run(*command, environment=environment).returncode

    def ingest_alone(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Load captures as one machine does, with a data folder and a state of its own."""
        shared = ("MT_STATE_URL", "MT_BROKER_URL")
        settings = {name: value for name, value in self.settings().items() if name not in shared}
        alone = {**settings, "MT_DATA_DIR": str(self.folder / "alone")}
        command = (*_PROGRAM, "ingest", str(folder))
        return self.head.run(*command, environment=self.environment(**alone))

    def cpu_seconds(self) -> float:
        """Return the time of the processor of all hosts and servers, with what has ended there."""
        own = os.times()  # what this process started and waited for
        seconds = own.children_user + own.children_system
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # others end meanwhile
                seconds += sum(process.cpu_times()[:4])
        return seconds

    def verify(self) -> subprocess.CompletedProcess[str]:
        """Compare rows and files with the ledger, on the head."""
        environment = self.environment(**self.settings())
        return self.head.run(*_PROGRAM, "verify", environment=environment)

    def ask(self, query: str, **variables: object) -> dict[str, object]:
        """Ask Dagster's API on the head, as its page does."""
        question = json.dumps({"query": query, "variables": variables})
        command = (sys.executable, "-c", _ASK, question)
        done = self.head.run(*command, environment=self.environment())
        if (
            done.returncode
        ):  # its connections to a Postgres that was killed; the page asks again, too
            done = self.head.run(*command, environment=self.environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    def runs(self) -> list[dict[str, object]]:
        """Return the runs with status and tags, the last one first."""
        query = "{runsOrError {... on Runs {results {runId status jobName tags {key value}}}}}"
        runs = self.ask(query)["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]

    def asleep(self, experiment: str, *, count: int = 2 * SLOTS) -> dict[str, list[str]]:
        """Drop captures that tshark sleeps over until `wake`, one for each slot.

        Returns:
            The captures at work, by the name of their host.
        """
        for host in (self.head, self.other):
            self._sleeps(host).touch()
        keys = [f"{experiment}/slow-{number}.pcap" for number in range(count)]
        for key in keys:
            built = capture(self.folder / "built.pcap")
            (self.inbox / key).parent.mkdir(exist_ok=True)
            built.rename(self.inbox / key)
        assert eventually(lambda: not set(keys) - set(self.reads())), self.logs()
        hosts = {run["runId"]: run["tags"].get(HOST) for run in self.runs()}
        records = self.records(keys)
        found: dict[str, list[str]] = {self.head.name: [], self.other.name: []}
        for record in records:
            assert record.state is State.RUNNING, record
            found[hosts[record.run]].append(record.key)
        return found

    def wake(self, *hosts: Host) -> None:
        """Let tshark go on, on these hosts or on all, and sleep over no capture any more."""
        for host in hosts or (self.head, self.other):
            self._sleeps(host).unlink(missing_ok=True)

    def _sleeps(self, host: Host) -> Path:
        return self.folder / f"asleep-{host.name}"

    def records(self, keys: Collection[str]) -> list[Record]:
        """Return what the ledger has of captures."""
        return [record for record in self.ledger.records() if record.key in keys]

    def verdicts(self, keys: Collection[str]) -> list[tuple[object, ...]]:
        """Return what became of captures, by which run, and when."""
        found = self.records(keys)
        return [(each.key, each.state, each.rows, each.run, each.changed_at) for each in found]

    def left(self, keys: Collection[str]) -> list[str]:
        """Return which captures are not done."""
        records = {record.key: record.state for record in self.ledger.records()}
        return [key for key in keys if records.get(key) is not State.DONE]

    def wait_for(self, keys: Collection[str], *, seconds: float = 3 * SECONDS) -> None:
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
def cluster(folder: Path, *, counts_reads: bool = True, budget: int = BUDGET) -> Iterator[Cluster]:
    """Start servers, a head and a worker; wait until both work.

    Args:
        folder: for all that they keep.
        counts_reads: notes what tshark reads; it starts anew for each capture then.
        budget: calls to Netify a day.
    """
    script = (
        f'( while [ "$1" != -r ]; do shift; done; echo "$2" >> {folder / "reads"} )\n'
        f"asleep={folder}/asleep-$(uname -n)\n"
        'case "$*" in *slow*) while [ -e "$asleep" ]; do sleep 0.2; done ;; esac\n'
        'exec "$TSHARK" "$@"'
    )
    tshark = str(wrapper(folder / "tshark", script)) if counts_reads else TSHARK
    with ExitStack() as stack:
        net = stack.enter_context(network())
        state = postgres.Server(host=net.address, most=150)
        stack.callback(state.close)
        redis = Broker(folder / "redis", host=net.address)
        stack.callback(redis.kill)
        questdb = QuestDb(folder / "questdb", host=net.address)
        stack.callback(questdb.stop)
        netify = stack.enter_context(FakeNetify(host=net.address))
        hosts = net.host("lab1", 11), net.host("lab2", 12)
        for host in hosts:
            stack.callback(host.power_off)
        made = Cluster(folder, net, state, redis, questdb, netify, *hosts, tshark, budget)
        made.start_head()
        made.start_worker()
        yield made
