"""compose.yml, or compose.cluster.yml, without an engine: variables filled in, plain processes.

A process gets the command, the environment, the secrets and the health check that the file gives
its container. It cannot get more rights, and where the machine allows that, it has no capability
and can write only below its folder. Names of services and 0.0.0.0 become 127.0.0.1, ports become
free ones, and volumes become folders below one folder.
"""

import functools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import yaml
from dotenv import dotenv_values

from mt_pipeline.backends.questdb import java
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.services import SECONDS, eventually, free_ports

FILE = PROJECT / "compose.yml"
CLUSTER = PROJECT / "compose.cluster.yml"

Service = dict[str, object]

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?+])([^${}]*))?\})")
_PORTS = ("4000", "3000", "3001", "3002", "5432", "6379", "9000", "8812")
_PATH = re.compile(
    r"""(?<![^\s"=(])/(data|inbox|offline|imports|scratch|tmp|run/secrets)\b[^\s")]*"""
)
_READ_ONLY = (
    "for folder in $WRITABLE; do mount --bind $folder $folder || exit; done; "
    'mount -o remount,bind,ro / && exec "$@"'
)


class MissingError(Exception):
    """A variable that has no default is not set."""


def named_volumes(services: Mapping[str, Service]) -> set[str]:
    """Return the volumes that services name in the short form."""
    return {
        volume.partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if isinstance(volume, str)
    }


def variables(text: str | None = None) -> dict[str, bool]:
    """Return the variables of the file, and whether each is required."""
    required: dict[str, bool] = {}
    for name, kind in re.findall(
        r"\$\{(\w+)(?::([-?+]))?", FILE.read_text() if text is None else text
    ):
        required[name] = required.get(name, False) or kind == "?"
    return required


def resolved(environment: Mapping[str, str], file: Path = FILE) -> dict[str, dict[str, Service]]:
    """Read a file with its variables filled in.

    Raises:
        MissingError: a variable without a default is not set, or empty.
    """
    return _filled(yaml.safe_load(file.read_text()), environment)


def _filled(part: object, environment: Mapping[str, str]) -> object:
    if isinstance(part, dict):
        return {key: _filled(value, environment) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, environment) for value in part]
    return _text(part, environment) if isinstance(part, str) else part


def _text(text: str, environment: Mapping[str, str]) -> str:
    """Fill in the innermost variables first; a `$$` stays until all is done."""
    filled = _VARIABLE.sub(
        lambda match: (
            "$$" if match[0] == "$$" else _value(match[1], match[2], match[3], environment)
        ),
        text,
    )
    return _text(filled, environment) if filled != text else text.replace("$$", "$")


def _value(name: str, kind: str | None, other: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "")
    if kind == "?" and not value:
        raise MissingError(f"{name}: {other}")
    if kind == "+":
        return other if value else ""
    return value or (other if kind == "-" else "")


class Stack:
    """The services that this machine has programs for, as processes on free ports.

    Args:
        folder: for all that they keep.
        environment: what `.env` has.
        secrets: what the files of secrets have, by their names.
        file: which of them.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        secrets: Mapping[str, str],
        file: Path = FILE,
    ) -> None:
        self.folder = folder
        self.services = resolved(environment, file)["services"]
        self._ports = dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Postgres refuses root, and whoever it runs as instead may not enter the folders of tests.
        self._postgres = Path(tempfile.mkdtemp(prefix="mt-postgres-"))
        for place in ("tmp", "run/secrets"):
            self.place(f"/{place}").mkdir(parents=True)
        for name, secret in secrets.items():
            self.place(f"/run/secrets/{name}").write_text(secret)

    def port(self, port: int) -> int:
        """Return the free port that stands for a port of the file."""
        return int(self._ports[str(port)])

    def place(self, path: str) -> Path:
        """Return the local path of a path in a container."""
        return (
            self._postgres / "data"
            if path == "/var/lib/postgresql/data"
            else self.folder / path.lstrip("/")
        )

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service; of ours it has only the path of programs."""
        service = self.services[name]
        given = {
            **dotenv_values(PROJECT / str(service.get("env_file", "none"))),
            **service.get("environment", {}),
        }
        path = f"{Path(sys.executable).parent}:{postgres_programs()}:{os.environ['PATH']}"
        more = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port(5432))} if name == "postgres" else {}
        return {key: self._here(value) for key, value in given.items()} | {
            "PATH": path,
            "HOME": str(self.folder),
            "TMPDIR": str(self.place("tmp")),
            **more,
        }

    @contextmanager
    def running(self, names: Sequence[str]) -> Iterator[None]:
        """Start services in their order; end all at the end."""
        try:
            for name in names:
                self.start(name)
            yield
        finally:
            self.close()

    def start(self, name: str) -> None:
        """Start a service and wait until it is healthy, as those do that depend on it."""
        for mount in self.services[name].get("volumes", ()):
            self._mount(mount)
        with (self.folder / f"{name}.log").open("ab") as log:
            command, environment = self._command(name), self.environment(name)
            if can_mount():
                command = ["unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", *command]
                environment["WRITABLE"] = f"{self.folder} {self._postgres}"
            self._processes[name] = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert eventually(
            lambda: self._processes[name].poll() is not None or self.is_healthy(name)
        ), self.log(name)
        assert self._processes[name].poll() is None, self.log(name)

    def is_healthy(self, name: str) -> bool:
        """Run the health check of a service."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, *map(self._here, test)).returncode == 0

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the environment of a service, as `docker compose exec` does."""
        return subprocess.run(
            command,
            cwd=PROJECT,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def kill(self, name: str) -> None:
        """End a service and all that it started at once, as when its container is killed."""
        process = self._processes.pop(name)
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)  # it starts no more
            family = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGKILL)
            for child in family:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(family, timeout=SECONDS)  # Postgres starts after its last process
        process.wait()

    def stop(self, name: str) -> int:
        """Stop a service and its processes as its image does; return its exit status."""
        os.killpg(self._processes[name].pid, signal.SIGTERM)
        self._processes[name].wait(120)
        return self._processes.pop(name).returncode

    def processes(self) -> list[tuple[psutil.Process, dict[str, str]]]:
        """List all processes of all services, with what is in their environment."""
        found = []
        for started in self._processes.values():
            parent = psutil.Process(started.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    found.append((process, process.environ()))
        return found

    def log(self, name: str) -> str:
        """Return all output of a service."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """End all that runs."""
        for name in reversed(list(self._processes)):
            self.kill(name)
        shutil.rmtree(self._postgres, ignore_errors=True)

    def _here(self, text: str) -> str:
        is_host = text in self.services and "network_mode" not in self.services[text]
        text = "127.0.0.1" if is_host else text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        text = re.sub(
            rf"(?<!\d)({'|'.join(_PORTS)})(?!\d)", lambda match: self._ports[match[0]], text
        )
        return _PATH.sub(lambda match: str(self.place(match[0])), text)

    def _mount(self, mount: str | Mapping[str, str]) -> None:
        if isinstance(mount, str):  # a named volume
            self.place(mount.split(":")[1]).mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        target = self.place(mount["target"])
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            target.symlink_to(PROJECT / mount["source"])

    def _command(self, name: str) -> Sequence[str]:
        """Return the command of a container: that of the file, or of the image of a database."""
        if name == "questdb":
            return [
                *_without_rights(),
                *java.command(
                    self.place("/var/lib/questdb"), temporary=self.place("tmp"), heap="512m"
                ),
            ]
        if name == "postgres":
            return self._postgres_command()
        if name == "redis":
            return [*_without_rights(), *map(self._here, self.services[name]["command"])]
        return [*_without_rights(), *entrypoint(), *map(self._here, self.services[name]["command"])]

    def _postgres_command(self) -> Sequence[str]:
        environment, data, secret = (
            self.environment("postgres"),
            self.place("/var/lib/postgresql/data"),
            self._postgres / "password",
        )
        someone = _without_rights("--reuid=postgres", "--regid=postgres", "--init-groups")
        if not (data / "PG_VERSION").exists():
            secret.write_text(Path(environment["POSTGRES_PASSWORD_FILE"]).read_text())
            if os.geteuid() == 0:
                user = pwd.getpwnam("postgres")
                for path in (self._postgres, data, secret):
                    os.chown(path, user.pw_uid, user.pw_gid)
            make = [
                "initdb",
                "-U",
                environment["POSTGRES_USER"],
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "-E",
                "UTF8",
                "-N",
                "-D",
                str(data),
            ]
            subprocess.run(
                [*someone, *make], env=environment, cwd="/", stdout=subprocess.DEVNULL, check=True
            )
            single = [*someone, "postgres", "--single", "-D", str(data), "postgres"]
            order = f"CREATE DATABASE {environment['POSTGRES_DB']}\n".encode()
            subprocess.run(
                single, input=order, env=environment, cwd="/", stdout=subprocess.DEVNULL, check=True
            )
        return [
            *someone,
            "postgres",
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port(5432)),
            "-k",
            str(self._postgres),
            *map(str, self.services["postgres"].get("command", [])[1:]),
        ]


def entrypoint() -> Sequence[str]:
    """Return the entrypoint of our image, after the program that forwards signals."""
    [line] = re.findall(r"^ENTRYPOINT (.+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    tini, group, end, *rest = json.loads(line)
    assert (tini, group, end) == ("tini", "-g", "--")
    return rest


def _without_rights(*who: str) -> list[str]:
    """Return the start of a command without capabilities, and without a way to get them."""
    dropped = ["--bounding-set=-all", "--inh-caps=-all", *who] if os.geteuid() == 0 else []
    return ["setpriv", *dropped, "--no-new-privs"]


@functools.cache
def can_mount() -> bool:
    """Return whether a process may have its own view of the disk here."""
    try:
        tried = subprocess.run(
            ["unshare", "--mount", "mount", "-o", "remount,bind,ro", "/"],  # noqa: S607
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@functools.cache
def postgres_programs() -> str:
    """Return the folder of Postgres's programs, which is not on Debian's PATH; empty if none."""
    initdb = shutil.which("initdb")
    return (
        str(Path(initdb).resolve().parent)
        if initdb
        else str(max(Path("/usr/lib/postgresql").glob("*/bin"), default=""))
    )
