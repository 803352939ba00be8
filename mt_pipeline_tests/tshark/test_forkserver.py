"""A tshark that forks: each fork prints what a fresh tshark prints, and leaves no process."""

import multiprocessing
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import TsharkError, TsharkFailed
from mt_pipeline.tshark.forkserver import CAPTURE, Forked, ForkServer
from mt_pipeline.tshark.programs import environment
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import everything, tcp_udp_only
from mt_pipeline_tests.building.files import compress, cut, timed, write_pcap
from mt_pipeline_tests.system.test_processes import is_gone, only_linux
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


class Server(ForkServer):
    """One that tells its tshark, what stands between it and us, and which forks live."""

    def __init__(self, *, is_confined: bool) -> None:
        super().__init__(
            tshark().command(Path(CAPTURE), ""), environment(), is_confined=is_confined
        )
        first = psutil.Process(self._process.pid)
        *self.between, self.process = [first, *first.children(recursive=True)]

    def forks(self) -> list[psutil.Process]:
        return self.process.children()


@pytest.fixture(params=[False, True], ids=["open", "confined"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param and not tshark().is_confined:
        pytest.skip("there is no bubblewrap, or it is not permitted here")
    server = Server(is_confined=request.param)
    yield server
    server.close()


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_pcap(tmp_path / "a capture", timed(traffic.tls_session()))


def fork(server: Server, capture: Path) -> Forked:
    with tempfile.TemporaryFile() as errors:
        return server.fork(capture, errors)


def read(server: Server, capture: Path) -> tuple[bytes, int]:
    forked = fork(server, capture)
    with forked.stdout:
        return forked.stdout.read(), forked.wait()


def result_of(
    capture: Path, display_filter: str = "", *, program: Tshark | None = None
) -> list[bytes] | tuple[type[TsharkError], str, str, int | None]:
    try:
        return output_of(capture, display_filter, program=program)
    except TsharkError as error:
        return type(error), str(error), error.stderr, error.status


@pytest.mark.parametrize("display_filter", ["", "tcp.stream == 0", "tcp.prot"])
@pytest.mark.parametrize("kind", CAPTURES)
def test_a_fork_says_what_a_tshark_says_that_was_just_started(
    tmp_path: Path, kind: str, display_filter: str
):
    capture = CAPTURES[kind](tmp_path / "a capture")
    # The second fork knows nothing of the first.
    forked = [result_of(capture, display_filter) for _ in range(2)]
    started = replace(tshark(), fork_seconds=0)
    assert forked == [result_of(capture, display_filter, program=started)] * 2


def test_captures_are_read_by_forks_of_one_tshark(tmp_path: Path):
    parents = set()
    for number in range(2):
        with (
            endless_capture(tmp_path / f"{number}.pcap") as path,
            suppress(TsharkFailed),
            tshark().lines(path) as stream,
        ):
            assert stream.output.readline().lstrip().startswith(b"1\t")
            [reader] = readers()
            parents.add(reader.parent())
            reader.kill()
    assert [parent.name() for parent in parents] == ["tshark"]


def test_forks_work_side_by_side_and_each_end_is_told_to_whom_it_concerns(
    server: Server, capture: Path, tmp_path: Path
):
    expected = b"".join(output_of(capture))
    with endless_capture(tmp_path / "endless.pcap") as endless:
        # More than there are descriptors below the one of the capture.
        killed, *broken = (fork(server, endless) for _ in range(35))
        assert read(server, capture) == (expected, 0)
        [first, *_] = server.forks()
        killed.kill()
        assert is_gone(first.pid)
        for each in server.forks():
            each.send_signal(signal.SIGUSR1)  # tshark lives on after SIGTERM once it reads
        assert [each.wait() for each in broken] == [-signal.SIGUSR1] * 34
        assert (killed.wait(), broken[0].wait()) == (-signal.SIGKILL, -signal.SIGUSR1)
    for each in (killed, *broken):
        each.stdout.close()
    assert read(server, capture) == (expected, 0)


def test_a_server_keeps_nothing_of_its_forks(server: Server, capture: Path, tmp_path: Path):
    with endless_capture(tmp_path / "endless.pcap") as endless, socket.socket() as cannot_be_opened:
        first = fork(server, endless)
        forks, before = server.forks(), (server.process.num_fds(), psutil.Process().num_fds())
        for _ in range(20):
            read(server, capture)
            with pytest.raises(OSError, match="no fork for "):
                server.fork(capture, cannot_be_opened)
        assert (server.process.num_fds(), psutil.Process().num_fds()) == before
        assert server.forks() == forks
        first.kill()
        first.stdout.close()


def test_a_server_that_is_interrupted_while_it_is_asked_opens_nothing_afterwards(
    server: Server, capture: Path, tmp_path: Path
):
    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    server.process.suspend()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(InterruptedError):
            fork(server, capture)
    finally:
        signal.signal(signal.SIGALRM, before)
    # These get the descriptors that it was sent.
    files = [(tmp_path / f"{number}").open("w+b") for number in range(8)]
    with suppress(psutil.NoSuchProcess):
        server.process.resume()
    assert is_gone(server.process.pid)
    for file in files:
        file.close()
    assert [file.stat().st_size for file in tmp_path.iterdir() if file != capture] == [0] * 8


def test_a_process_that_is_forked_from_ours_has_a_server_of_its_own(capture: Path):
    expected = output_of(capture)

    def work(results: "multiprocessing.SimpleQueue[object]") -> None:
        results.put([result_of(capture) == expected for _ in range(10)])

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=work, args=(results,))
    child.start()
    assert [result_of(capture) == expected for _ in range(10)] == [True] * 10
    assert results.get() == [True] * 10
    child.join()


def test_what_cannot_be_opened_is_no_fork(server: Server, capture: Path, tmp_path: Path):
    before = psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        fork(server, tmp_path / "nowhere")
    assert psutil.Process().num_fds() == before
    assert read(server, capture) == (b"".join(output_of(capture)), 0)


def test_a_lost_server_costs_the_capture_at_work_and_no_other(capture: Path, tmp_path: Path):
    expected = output_of(capture)

    def lose(path: Path) -> None:
        with tshark().lines(path) as stream:
            stream.output.readline()
            [reader] = readers()
            reader.parent().kill()

    with (
        endless_capture(tmp_path / "x.pcap") as path,
        pytest.raises(TsharkFailed, match=r"x\.pcap: tshark was ended by signal 9;"),
    ):
        lose(path)
    for number in range(3):
        assert output_of(capture) == expected, number


@pytest.mark.parametrize(
    "script",
    [NO_FORKS, "echo ready to do other things", "exec sleep 1000"],
    ids=["no Lua", "another program", "silent"],
)
def test_what_does_not_fork_is_started_for_each_capture(tmp_path: Path, capture: Path, script: str):
    expected = output_of(capture)
    program = tmp_path / "tshark"
    only_for_forks = (
        script if script is NO_FORKS else f'case "$*" in *forkserver.lua*) {script}; exit ;; esac'
    )
    program.write_text(f'#!/bin/sh\n{only_for_forks}\nexec {tshark().program} "$@"\n')
    program.chmod(0o755)
    children = psutil.Process().children()
    assert output_of(capture, program=Tshark(str(program), "4.0.0", fork_seconds=1)) == expected
    assert set(psutil.Process().children()) <= set(children)


def test_forks_end_with_who_asked_for_them(tmp_path: Path):
    program = """if True:
        import sys, tempfile
        from pathlib import Path
        from mt_pipeline.tshark import forkserver
        from mt_pipeline.tshark.programs import environment
        from mt_pipeline_tests.tshark.parts import tshark
        command = tshark().command(Path(forkserver.CAPTURE), "ip.addr == 0.0.0.0")
        server = forkserver.ForkServer(command, environment())
        with tempfile.TemporaryFile() as errors:
            forks = [server.fork(Path(sys.argv[1]), errors) for _ in range(2)]
        print("forked", flush=True)
        forks[0].stdout.read()
    """
    with endless_capture(tmp_path / "x.pcap") as path:
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout.readline() == "forked\n"
            broker, *forks = psutil.Process(parent.pid).children(recursive=True)
            assert [each.name() for each in forks] == ["tshark"] * 3
            parent.kill()
        assert [is_gone(each.pid) for each in (broker, *forks)] == [True] * 4
