"""A tshark that forks: each fork says what a tshark that was just started says, and nothing outlives anybody."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mt_pipeline.tshark import forkserver
from mt_pipeline.tshark.command import Tshark, TsharkError, TsharkFailed, environment
from mt_pipeline.tshark.forkserver import CAPTURE, Forked, ForkServer
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import everything, tcp_udp_only
from mt_pipeline_tests.building.files import compress, cut, timed, write_pcap
from mt_pipeline_tests.test_processes import is_gone, only_linux
from mt_pipeline_tests.tshark.parts import NO_FORKS, endless_capture, output_of, readers, tshark

pytestmark = only_linux


def text(path: Path) -> Path:
    path.write_text("no capture")
    return path


CAPTURES: dict[str, Callable[[Path], Path]] = {
    "everything": everything,
    "odd names": lambda path: tcp_udp_only(path, odd_names=True),
    "compressed": lambda path: compress(tcp_udp_only(path), "gzip"),
    "cut": lambda path: cut(tcp_udp_only(path), 10),
    "text": text,
    "missing": lambda path: path,
}


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer(tshark().command(Path(CAPTURE), ""), environment())
    yield server
    server.close()


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_pcap(tmp_path / "a capture", timed(traffic.tls_session()))


def fork(server: ForkServer, capture: Path) -> Forked:
    with tempfile.TemporaryFile() as errors:
        return server.fork(capture, errors)


def said_of(capture: Path, display_filter: str = "") -> list[bytes] | tuple[type[TsharkError], str, str, int | None]:
    try:
        return output_of(capture, display_filter)
    except TsharkError as error:
        return type(error), str(error), error.said, error.status


@pytest.mark.parametrize("display_filter", ["", "tcp.stream == 0", "tcp.prot"])
@pytest.mark.parametrize("kind", CAPTURES)
def test_a_fork_says_what_a_tshark_says_that_was_just_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, display_filter: str):
    capture = CAPTURES[kind](tmp_path / "a capture")
    forked = [said_of(capture, display_filter) for _ in range(2)]  # the second knows nothing of the first
    monkeypatch.setattr(forkserver, "fork", lambda *_: None)
    assert forked == [said_of(capture, display_filter)] * 2


def test_captures_are_read_by_forks_of_one_tshark(tmp_path: Path):
    parents = set()
    for number in range(2):
        with endless_capture(tmp_path / f"{number}.pcap") as path, suppress(TsharkFailed), tshark().lines(path) as stream:
            assert stream.output.readline().startswith(b"1\t")
            [reader] = readers()
            parents.add(reader.parent())
            reader.kill()
    assert [parent.name() for parent in parents] == ["tshark"]


def test_forks_work_side_by_side_and_each_end_is_told_to_whom_it_concerns(server: ForkServer, capture: Path, tmp_path: Path):
    expected = b"".join(output_of(capture))
    with endless_capture(tmp_path / "endless.pcap") as endless:
        killed, broken = fork(server, endless), fork(server, endless)
        whole = [fork(server, capture) for _ in range(5)]
        assert [each.stdout.read() for each in whole] == [expected] * 5
        assert [each.wait() for each in whole] == [0] * 5
        killed.kill()
        os.kill(broken.pid, signal.SIGTERM)
        assert (killed.wait(), broken.wait()) == (-signal.SIGKILL, -signal.SIGTERM)
        assert (killed.wait(), broken.wait()) == (-signal.SIGKILL, -signal.SIGTERM)
    for each in (*whole, killed, broken):
        each.stdout.close()


def test_a_server_keeps_nothing_of_its_forks(server: ForkServer, capture: Path, tmp_path: Path):
    with endless_capture(tmp_path / "endless.pcap") as endless:
        first = fork(server, endless)
        process = psutil.Process(first.pid).parent()
        before = process.num_fds(), psutil.Process().num_fds()
        for _ in range(20):
            each = fork(server, capture)
            with each.stdout:
                each.stdout.read()
            each.wait()
        assert (process.num_fds(), psutil.Process().num_fds()) == before
        assert process.children() == [psutil.Process(first.pid)]
        first.kill()
        first.wait()
        first.stdout.close()


def test_what_cannot_be_opened_is_no_fork(server: ForkServer, capture: Path, tmp_path: Path):
    before = psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        fork(server, tmp_path / "nowhere")
    assert psutil.Process().num_fds() == before
    after = fork(server, capture)
    with after.stdout:
        assert after.stdout.read() == b"".join(output_of(capture))
    assert after.wait() == 0


def test_a_lost_server_costs_the_capture_at_work_and_no_other(capture: Path, tmp_path: Path):
    expected = output_of(capture)

    def lose(path: Path) -> None:
        with tshark().lines(path) as stream:
            stream.output.readline()
            [reader] = readers()
            lost.append(reader.pid)
            reader.parent().kill()
            stream.output.close()

    lost: list[int] = []
    with endless_capture(tmp_path / "x.pcap") as path:
        with pytest.raises(TsharkFailed, match=r"x\.pcap: tshark was ended by signal 9;"):
            lose(path)
        assert is_gone(lost[0])
    for number in range(3):
        assert output_of(capture) == expected, number


@pytest.mark.parametrize("script", [NO_FORKS, "echo ready to do other things", "exec sleep 1000"], ids=["no Lua", "another program", "silent"])
def test_what_does_not_fork_is_started_for_each_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: Path, script: str):
    monkeypatch.setattr(forkserver, "_SECONDS", 1)
    expected = output_of(capture)
    program = tmp_path / "tshark"
    only_for_forks = script if script is NO_FORKS else f'case "$*" in *lua_script*) {script}; exit ;; esac'
    program.write_text(f'#!/bin/sh\n{only_for_forks}\nexec {tshark().program} "$@"\n')
    program.chmod(0o755)
    children = psutil.Process().children()
    assert output_of(capture, program=Tshark(str(program), "4.0.0")) == expected
    assert set(psutil.Process().children()) <= set(children)


def test_forks_end_with_who_asked_for_them(tmp_path: Path):
    program = """if True:
        import sys, tempfile
        from pathlib import Path
        from mt_pipeline.tshark import forkserver
        from mt_pipeline.tshark.command import environment
        from mt_pipeline_tests.tshark.parts import tshark
        server = forkserver.ForkServer(tshark().command(Path(forkserver.CAPTURE), "ip.addr == 0.0.0.0"), environment())
        with tempfile.TemporaryFile() as errors:
            forks = [server.fork(Path(sys.argv[1]), errors) for _ in range(2)]
        print(*(fork.pid for fork in forks), flush=True)
        forks[0].stdout.read()
    """
    with endless_capture(tmp_path / "x.pcap") as path:
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as parent:
            forks = [int(pid) for pid in parent.stdout.readline().split()]
            server = psutil.Process(forks[0]).ppid()
            assert psutil.Process(server).name() == "tshark"
            parent.kill()
        assert [is_gone(pid) for pid in (server, *forks)] == [True] * 3
