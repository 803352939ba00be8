"""A network of hosts on this machine, each with a network, processes and a name of its own.

It needs root. All of it goes when the process of the test ends, however that ends.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psutil

from mt_pipeline.system.processes import bound

_SWITCH = "mtswitch"


def missing() -> str:
    """Return why there can be no such network here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root, for hosts with networks of their own"
    if not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        return "needs iproute2 and util-linux"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--uts", "--mount-proc", "ip", "link"],  # noqa: S607
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


class Host:
    """A host.

    Args:
        name: of the host.
        network: that it is connected to.
        address: on that network.
    """

    def __init__(self, name: str, network: "Network", address: str) -> None:
        self.name, self.address = name, address
        self._network = network
        self._programs: list[subprocess.Popen[str]] = []
        self._boot()

    def _boot(self) -> None:
        # `sh` waits for orphans, as the first process of a machine does.
        init = f"hostname {self.name} && ip link set lo up && echo up && while :; do sleep 1; done"
        kinds = ("--net", "--pid", "--uts", "--mount-proc", "--fork", "--kill-child=KILL")
        self._machine = _up(["unshare", *kinds, "sh", "-c", init])
        [first] = psutil.Process(self._machine.pid).children()
        self._first = first.pid
        self._network.connect(self._first, self.name, self.address)

    def start(
        self, *command: str, environment: Mapping[str, str], output: str
    ) -> subprocess.Popen[str]:
        """Start a program there, with all output in a file."""
        with open(output, "a") as file:  # noqa: PTH123
            process = subprocess.Popen(
                self._inside(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                text=True,
            )
        self._programs.append(process)
        return process

    def run(
        self, *command: str, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end."""
        return subprocess.run(
            self._inside(command),
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """List all processes there."""
        found = []
        for process in psutil.Process(self._first).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        for program in self._programs:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(program.pid).children(recursive=True)
        return list(dict.fromkeys(found))

    def named(self, *words: str) -> list[psutil.Process]:
        """List the processes there with all of some words in their command."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if all(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
        return found

    def link(self, state: str) -> None:
        """Set its link `up` or `down`: that is a network that works, or does not."""
        inside = ("ip", "link", "set", "eth0", state)
        assert self.run(*inside, environment=os.environ).returncode == 0

    def power_off(self) -> None:
        """Cut the power: nobody hears of it, and all that runs there is gone."""
        self.link("down")
        self._machine.kill()
        self._machine.wait()
        for program in self._programs:
            program.wait(60)
        self._programs.clear()

    def power_on(self) -> None:
        """Start it again, without any program."""
        self._boot()

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        kinds = ("--net", "--pid", "--uts", "--mount")
        return bound(["nsenter", "--target", str(self._first), *kinds, "--", *command])


class Network:
    """A switch, and this machine at one of its ports."""

    def __init__(self) -> None:
        self._name = f"mt{secrets.token_hex(3)}"
        self._subnet = f"10.77.{secrets.randbelow(254) + 1}"
        self.address = f"{self._subnet}.1"
        self._switch = _up(["unshare", "--net", "sh", "-c", "echo up; exec sleep infinity"])
        self._in_switch("ip", "link", "add", _SWITCH, "type", "bridge")
        self._in_switch("ip", "link", "set", _SWITCH, "up")
        self._plug(str(os.getpid()), self._name, self.address)

    def host(self, name: str, number: int) -> Host:
        """Start a host."""
        return Host(name, self, f"{self._subnet}.{number}")

    def connect(self, pid: int, name: str, address: str) -> None:
        """Connect the network of a process."""
        self._plug(str(pid), "eth0", address, port=f"p{name}{secrets.token_hex(2)}")

    def close(self) -> None:
        """Take it down. Its cables go with it."""
        self._switch.kill()
        self._switch.wait()

    def _plug(self, pid: str, end: str, address: str, *, port: str = "uplink") -> None:
        cable = ("type", "veth", "peer", "name", port, "netns", str(self._switch.pid))
        _in(pid, "ip", "link", "add", end, *cable)
        _in(pid, "ip", "address", "add", f"{address}/24", "dev", end)
        _in(pid, "ip", "link", "set", end, "up")
        self._in_switch("ip", "link", "set", port, "master", _SWITCH, "up")

    def _in_switch(self, *command: str) -> None:
        _in(str(self._switch.pid), *command)


@contextmanager
def network() -> Iterator[Network]:
    """Yield a network without hosts; end it, and with it all its cables."""
    made = Network()
    try:
        yield made
    finally:
        made.close()


def _up(command: list[str]) -> subprocess.Popen[str]:
    """Start what says `up`."""
    process = subprocess.Popen(bound(command), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.stdout.close()
    return process


def _in(pid: str, *command: str) -> None:
    subprocess.run(["nsenter", "--target", pid, "--net", "--", *command], check=True)  # noqa: S607
