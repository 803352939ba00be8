"""Child processes end when and as they should."""

import ast
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM

import psutil
import pytest

import mt_pipeline
from mt_pipeline.system import processes
from mt_pipeline.system.processes import bound, stop

PACKAGE = Path(mt_pipeline.__file__).parent
SHELL = "/bin/sh"
SLEEPS = [SHELL, "-c", "exec sleep 1000"]
IGNORES_SIGTERM = [SHELL, "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]

only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux ends children with their parent"
)


def is_gone(pid: int, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    with suppress(psutil.NoSuchProcess):
        # In a container nobody may collect an orphan: a zombie has ended, too.
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def killed_parent_of(command: list[str]) -> int:
    """Return the id of a child that printed a line, and whose parent was then killed."""
    parent = (
        f"import subprocess; c = subprocess.Popen({command!r}, stdout=-1); "
        "c.stdout.readline(); print(c.pid, flush=True); c.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True
    ) as process:
        child = int(process.stdout.readline())
        process.kill()
    return child


@only_linux
def test_a_bound_child_ends_with_its_killed_parent_even_if_it_ignores_sigterm():
    assert is_gone(killed_parent_of(bound(IGNORES_SIGTERM)))


@only_linux
def test_an_unbound_child_would_live_on():
    child = killed_parent_of(IGNORES_SIGTERM)
    assert not is_gone(child, 0.5)
    psutil.Process(child).kill()


@only_linux
def test_a_child_bound_by_sigterm_can_tidy_up(tmp_path: Path):
    script = f"trap 'touch {tmp_path}/tidy; exit' TERM; echo ready; while :; do sleep 0.1; done"
    assert is_gone(killed_parent_of(bound(["sh", "-c", script], signal="TERM")))
    assert (tmp_path / "tidy").exists()


def test_a_bound_command_keeps_its_arguments_and_status():
    command = bound(["sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "--pdeathsig", "a b", "", "*"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("--pdeathsig|a b||*|", 7)


def test_stop_asks_first():
    process = subprocess.Popen(SLEEPS)
    stop(process, grace=10)
    assert process.returncode == -SIGTERM


def test_stop_kills_what_does_not_listen():
    process = subprocess.Popen(IGNORES_SIGTERM, stdout=subprocess.PIPE, text=True)
    with process.stdout:
        process.stdout.readline()
        stop(process, grace=0.2)
    assert process.returncode == -SIGKILL


def test_stop_leaves_the_status_of_an_ended_child_alone():
    process = subprocess.Popen([SHELL, "-c", "exit 3"])
    process.wait()
    stop(process, grace=1)
    assert process.returncode == 3


@pytest.mark.parametrize("then", ["wait", "exit"])
def test_stop_ends_the_group_that_the_child_leads_or_led(then: str):
    process = subprocess.Popen(
        [SHELL, "-c", f"sleep 1000 >&- & echo $!; {then}"],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    with process.stdout:
        grandchild = int(process.stdout.readline())
        if then == "exit":
            process.wait()
        assert not is_gone(grandchild, 0.1)
        stop(process, grace=5)
    assert is_gone(grandchild)


OURS = {
    "dagster_process.py": "Dagster runs providers of other packages, with settings of their own",
    "workers.py": "it is our own code",
    "setup.py": "packages of the system, which may come through a proxy",
}


def test_every_other_program_is_given_a_listed_environment():
    """Regression: QuestDB and tshark, which parses what strangers send, got the key of Netify."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("subprocess.Popen", "subprocess.run")
                and path.name not in OURS
            ):
                [given] = [
                    ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "env"
                ] or ["nothing"]
                is_listed = given.startswith(("environment(", "processes.environment("))
                assert is_listed or given == "environment", f"{path}:{node.lineno} {given}"


def test_a_listed_environment_has_no_secret(monkeypatch: pytest.MonkeyPatch):
    for name in ("MT_NETIFY_API_KEY", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LISTED", "yes")

    child = processes.environment("LISTED", "NOT_SET", MORE="more")

    assert (child["LISTED"], child["MORE"], child["PATH"]) == ("yes", "more", os.environ["PATH"])
    assert "secret" not in child.values()
    assert "NOT_SET" not in child
