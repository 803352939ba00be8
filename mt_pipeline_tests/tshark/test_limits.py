"""No program of Wireshark runs for ever, takes all memory, or gets what it does not need."""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mt_pipeline.captures.identity import NotAFileError
from mt_pipeline.tshark import forkserver, packet_count
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import TsharkFailed, TsharkLimit, TsharkSilent
from mt_pipeline.tshark.forkserver import START_SECONDS
from mt_pipeline.tshark.limits import Limits
from mt_pipeline.tshark.packet_count import Counted, Estimate, count_packets, estimate
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.files import Frame, compress, timed, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.system.test_processes import is_gone, only_linux
from mt_pipeline_tests.tshark.parts import NO_FORKS, endless_capture, output_of, readers, tshark

pytestmark = only_linux

SECRET = "a key that nobody may see"


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{NO_FORKS}\n{script}\n")
    path.chmod(0o755)
    return path


def limited(
    limits: Limits, path: str | Path | None = None, *, fork_seconds: float = START_SECONDS
) -> Tshark:
    return Tshark(str(path or tshark().program), "4.0.0", limits, fork_seconds)


@pytest.fixture(params=["forked", "started"])
def fork_seconds(request: pytest.FixtureRequest) -> float:
    forkserver._server.cache_clear()  # an idle one would be taken for a reader
    return START_SECONDS if request.param == "forked" else 0


def test_a_tshark_that_is_stopped_is_ended_and_the_sentence_names_file_reason_and_setting(
    tmp_path: Path, fork_seconds: float
):
    path = write_bulk(tmp_path / "x.pcap", 100_000)

    stopped = []

    def read() -> None:
        with limited(Limits(silence=2), fork_seconds=fork_seconds).lines(path) as stream:
            stream.output.readline()
            [reader] = readers()
            stopped.append(reader.pid)
            reader.send_signal(signal.SIGSTOP)
            stream.output.read()

    with pytest.raises(
        TsharkSilent,
        match=r"x\.pcap: tshark did nothing for 2 s and was ended: .*; MT_TSHARK_SILENCE_SECONDS",
    ):
        read()
    assert is_gone(stopped[0])


def test_a_disk_that_does_not_answer_holds_nobody(tmp_path: Path, fork_seconds: float):
    with endless_capture(tmp_path / "x.pcap") as path, pytest.raises(TsharkSilent):
        output_of(path, program=limited(Limits(silence=2), fork_seconds=fork_seconds))


def test_a_tshark_that_works_without_a_word_is_not_silent(tmp_path: Path):
    works = program(
        tmp_path / "tshark",
        "i=0; end=$(($(date +%s) + 5)); while [ $(date +%s) -lt $end ]; do :; done; echo done",
    )
    assert output_of(
        write_pcap(tmp_path / "x.pcap", timed(dns())), program=limited(Limits(silence=2), works)
    ) == [b"done\n"]


def test_who_is_slow_to_read_finds_no_silence(tmp_path: Path):
    path = write_bulk(tmp_path / "x.pcap", 50_000)
    with limited(Limits(silence=0.5)).lines(path) as stream:
        first = stream.output.read(1000)
        psutil.Process().cpu_percent(2)  # tshark waits for us meanwhile
        rest = stream.output.read()
    assert (first + rest).count(b"\n") == 50_000


def test_a_tshark_that_works_for_too_long_is_ended(tmp_path: Path):
    works = program(tmp_path / "tshark", "while :; do echo; done")
    with pytest.raises(
        TsharkLimit,
        match=r"x\.pcap: tshark was not done after 2 s and was ended: .*MT_TSHARK_SECONDS",
    ):
        output_of(
            write_pcap(tmp_path / "x.pcap", timed(dns())), program=limited(Limits(seconds=2), works)
        )


def test_one_that_closes_its_output_and_stays_is_ended(tmp_path: Path):
    stays = program(tmp_path / "tshark", "exec >&-; exec sleep 1000")
    with pytest.raises(TsharkSilent):
        output_of(
            write_pcap(tmp_path / "x.pcap", timed(dns())), program=limited(Limits(silence=2), stays)
        )


def test_a_capture_that_needs_more_memory_than_it_may_is_told_so(
    tmp_path: Path, fork_seconds: float
):
    path = write_bulk(tmp_path / "x.pcap", 400_000)
    program = limited(Limits(memory=320 * 10**6), fork_seconds=fork_seconds)
    with pytest.raises(
        TsharkLimit,
        match=r"x\.pcap: tshark needs more memory than the 320 MB that it may take: "
        r".*MT_TSHARK_MEMORY_MB",
    ):
        output_of(path, program=program)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, *names: str) -> None:
    for name in names:
        program(folder / name, script)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("name", ["editcap", "capinfos"])
def test_a_count_that_stands_still_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    stand_in(tmp_path, monkeypatch, "kill -STOP $$", "editcap", "capinfos")
    path, limits = write_pcap(tmp_path / "x.pcap", timed(dns())), Limits(silence=2)
    if name == "capinfos":
        assert count_packets(path, limits) == Counted()
        assert estimate(path, seconds=2) is None
    else:
        with packet_count.counting(path, limits) as counted:
            assert counted() == Counted()


def _of_tshark(capture: Path, folder: Path) -> None:
    output_of(capture, program=Tshark(str(folder / "tshark"), "4.0.0"))


def _of_editcap(capture: Path, _: Path) -> None:
    with packet_count.counting(capture) as counted:
        counted()


@pytest.mark.parametrize(
    "run",
    [
        _of_tshark,
        _of_editcap,
        lambda capture, _: count_packets(capture),
        lambda capture, _: estimate(capture),
    ],
)
def test_children_that_parse_what_others_sent_are_given_nothing_but_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[Path, Path], object]
):
    for name in (
        "MT_NETIFY_API_KEY",
        "MT_QUESTDB_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "QDB_PG_PASSWORD",
    ):
        monkeypatch.setenv(name, SECRET)
    seen = tmp_path / "seen"
    stand_in(
        tmp_path,
        monkeypatch,
        f"cd /proc/$$; cat environ cmdline status limits >> {seen}; cut -d' ' -f6 stat >> {seen}",
        "tshark",
        "editcap",
        "capinfos",
    )
    run(write_pcap(tmp_path / "x.pcap", timed(dns())), tmp_path)
    text = seen.read_text()
    assert "PATH=" in text
    assert SECRET not in text
    assert "NoNewPrivs:\t1" in text
    assert text.splitlines()[-1] != str(os.getsid(0)), "a terminal is a session's"
    assert any(
        line.split()[:5] == ["Max", "core", "file", "size", "0"] for line in text.splitlines()
    )


def test_a_tshark_that_reads_has_no_terminal(tmp_path: Path, fork_seconds: float):
    """It could type into the shell of whoever ran the command, even from its sandbox."""
    seen = []

    def read(path: Path) -> None:
        with limited(Limits(silence=2), fork_seconds=fork_seconds).lines(path) as stream:
            stream.output.readline()
            seen.extend((os.getsid(reader.pid), reader.terminal()) for reader in readers())
            stream.output.read()

    with endless_capture(tmp_path / "x.pcap") as path, pytest.raises(TsharkSilent):
        read(path)
    assert seen
    assert all(session != os.getsid(0) and terminal is None for session, terminal in seen)


@pytest.mark.parametrize("how", [None, "gzip", "zstd", "lz4"])
def test_the_packets_of_a_head_tell_how_many_there_are(tmp_path: Path, how: str | None):
    path = write_bulk(tmp_path / "x.pcap", 20_000)
    path = compress(path, how) if how else path
    assert estimate(path) == Estimate(20_000, exact=True)
    about = estimate(path, head_bytes=path.stat().st_size // 2)
    assert about is not None
    assert not about.exact
    assert 5_000 < about.packets < 40_000
    assert str(about).startswith("about ")


def test_a_bomb_is_counted_in_bounded_time_and_a_sparse_file_is_not_read(tmp_path: Path):
    bomb = compress(write_pcap(tmp_path / "x.pcap", timed([b""])), "gzip")
    with (tmp_path / "zeros.pcap").open("wb") as file:
        file.write((tmp_path / "x.pcap").read_bytes())
        file.truncate(10**12)
    assert estimate(bomb) == Estimate(1, exact=True)
    sparse = estimate(tmp_path / "zeros.pcap")
    assert sparse is not None
    assert sparse.packets == pytest.approx(10**12 / 16, rel=0.01)


def test_capinfos_that_is_not_there_estimates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert estimate(write_pcap(tmp_path / "x.pcap", [Frame(b"", 0)])) is None
    assert shutil.which("capinfos") is None


def test_a_killed_tshark_is_no_limit(tmp_path: Path):
    killed = program(tmp_path / "tshark", "kill -KILL $$")
    with pytest.raises(TsharkFailed, match="ended by signal 9") as caught:
        output_of(write_pcap(tmp_path / "x.pcap", timed(dns())), program=limited(Limits(), killed))
    assert not isinstance(caught.value, TsharkLimit)


def test_a_tshark_that_complains_of_every_packet_is_heard_to_its_last_word(tmp_path: Path):
    """More than 10 MB of complaints once killed it by a signal, and a cut capture failed."""
    complains = program(
        tmp_path / "tshark",
        "line=$(printf '%099999d' 0); "
        'for _ in $(seq 120); do echo "Dissector bug $line" >&2 || exit 1; done; '
        "echo done; echo 'The file was cut short in the middle of a packet' >&2; exit 2",
    )
    path = write_pcap(tmp_path / "x.pcap", timed(dns()))
    assert output_of(path, program=limited(Limits(), complains)) == [b"done\n"]


def test_what_is_kept_of_many_complaints_is_short(tmp_path: Path):
    """It goes to the page of the run, and was once as long as it was printed."""
    complains = program(
        tmp_path / "tshark",
        "yes Dissector bug | head -c 9000000 >&2; echo failed to allocate 1 byte >&2; exit 1",
    )
    with pytest.raises(TsharkLimit) as caught:
        output_of(
            write_pcap(tmp_path / "x.pcap", timed(dns())), program=limited(Limits(), complains)
        )
    assert caught.value.stderr.endswith("failed to allocate 1 byte\n")
    assert len(caught.value.stderr) < 100_000


@pytest.mark.timeout(60)
def test_a_pipe_that_took_the_place_of_a_capture_is_not_waited_for(
    tmp_path: Path, fork_seconds: float
):
    """The fork once waited to open it, and every other capture for the fork."""
    os.mkfifo(tmp_path / "x.pcap")
    program = limited(Limits(silence=2), fork_seconds=fork_seconds)
    with suppress(TsharkSilent):  # or it is one without packets
        assert output_of(tmp_path / "x.pcap", program=program) == []
    with pytest.raises(NotAFileError):
        estimate(tmp_path / "x.pcap")
    assert len(output_of(write_pcap(tmp_path / "y.pcap", timed(dns())), program=program)) == 2
