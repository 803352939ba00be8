"""tshark as a child: which one, what it is asked, and what its end means."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.errors import (
    FilterError,
    NotACapture,
    TsharkError,
    TsharkFailed,
    TsharkMissing,
    TsharkTooOld,
)
from mt_pipeline.tshark.packet_count import Counted, count_packets
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import tcp_udp_only
from mt_pipeline_tests.building.files import compress, cut, timed, write_pcap, write_pcapng
from mt_pipeline_tests.system.test_processes import is_gone, only_linux
from mt_pipeline_tests.tshark.parts import (
    NO_FORKS,
    counted,
    endless_capture,
    output_of,
    readers,
    tshark,
)

SNI = "tls.handshake.extensions_server_name"


def script(path: Path, text: str, *, interpreter: str = "/bin/sh") -> str:
    """Make a program."""
    path.write_text(f"#!{interpreter}\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(
        tmp_path_factory.mktemp("captures") / "tls.pcap", timed(traffic.tls_session())
    )


@pytest.fixture(scope="module")
def lines(capture: Path) -> list[bytes]:
    """What tshark says of the capture when nobody interferes."""
    return output_of(capture)


# Which tshark


def test_the_version_is_what_the_program_says():
    usable = Tshark.find()
    output = subprocess.run(
        [usable.program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith(
        (
            f"TShark (Wireshark) {usable.version} ",
            f"TShark (Wireshark) {usable.version}.",
            f"TShark {usable.version}",
        )
    )
    assert Path(usable.program).is_absolute()


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("TShark (Wireshark) 3.6.0 (Git v3.6.0 packaged as 3.6.0-1)", "3.6.0"),
        ("TShark (Wireshark) 4.10.2 (v4.10.2rc0-1-gabc).", "4.10.2"),
        ("TShark 10.0.0.", "10.0.0"),
    ],
)
def test_versions_are_read_as_they_are_printed(tmp_path: Path, output: str, version: str):
    program = script(tmp_path / "tshark", f"echo '{output}'; echo 'Copyright 1998-2021'")
    assert Tshark.find(program) == Tshark(program, version)


@pytest.mark.parametrize("version", ["3.4.16", "2.6.20", "1.12.1", "3.5.99"])
def test_an_old_version_is_refused_with_what_is_needed(tmp_path: Path, version: str):
    program = script(tmp_path / "tshark", f"echo 'TShark (Wireshark) {version} (Git v{version})'")
    with pytest.raises(
        TsharkTooOld, match=rf"tshark {version} at {program} is too old, 3\.6 is the oldest"
    ):
        Tshark.find(program)


@pytest.mark.parametrize("program", ["no-such-tshark", "/no/such/tshark", "/"])
def test_a_missing_program_is_named_with_the_cure(program: str):
    with pytest.raises(TsharkMissing, match=rf"not found as '{program}'; install it.*MT_TSHARK"):
        Tshark.find(program)


def test_a_program_that_does_not_start_is_missing(tmp_path: Path):
    with pytest.raises(
        TsharkMissing, match=r"tshark does not start: No such file or directory; install it"
    ):
        Tshark.find(script(tmp_path / "tshark", "", interpreter="/no/such/shell"))
    (tmp_path / "tshark").write_bytes(b"\x7fELF of another machine")
    with pytest.raises(
        TsharkMissing, match=r"tshark does not start: Exec format error; install it"
    ):
        Tshark.find(str(tmp_path / "tshark"))


def test_another_program_is_no_tshark(tmp_path: Path):
    with pytest.raises(
        TsharkMissing,
        match=r"does not say a tshark version but 'sharks live in water\\n'; set MT_TSHARK",
    ):
        Tshark.find(script(tmp_path / "tshark", "echo sharks live in water"))


# Display filters


@pytest.mark.parametrize(
    ("display_filter", "says"),
    [
        ("tcp.prot == 1", r"tcp\.prot"),
        ("tcp &&", "Unexpected end"),
        ("ip.addr = 1", "="),
        ("-x", "Constant arithmetic expression"),
    ],
)
def test_a_filter_with_a_typo_says_what_tshark_says_of_it(display_filter: str, says: str):
    with pytest.raises(
        FilterError, match=rf"^display filter not understood: '{display_filter}'\. tshark: .*{says}"
    ) as caught:
        tshark().check_filter(display_filter)
    assert 'Running as user "root"' not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.status


@pytest.mark.parametrize("display_filter", ["", 'tcp or dns.qry.name == "x"'])
def test_a_good_filter_passes(display_filter: str):
    tshark().check_filter(display_filter)


def test_a_filter_is_tried_once_however_many_captures_there_are(tmp_path: Path):
    tries = tmp_path / "tries"
    usable = Tshark(
        script(tmp_path / "tshark", f'echo x >> {tries}; exec {tshark().program} "$@"'), "4.0.0"
    )
    for _ in range(3):
        usable.check_filter("tcp.port == 443")
        with pytest.raises(FilterError):
            usable.check_filter("tcp.prot == 443")
    assert tries.read_text() == "x\n" * 2


def test_only_packets_that_match_are_said(capture: Path, lines: list[bytes]):
    matching = output_of(capture, SNI)
    assert matching == [line for line in lines if b"www.example.com" in line]
    assert len(matching) == 1


def test_a_wrong_filter_never_looks_like_a_capture_without_packets(capture: Path):
    with pytest.raises(TsharkError, match=r"tcp\.prot"):
        output_of(capture, "tcp.prot == 1")


# Captures


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
@pytest.mark.parametrize(
    "drop", [10, 60]
)  # inside the data of the last packet, and inside its header
def test_a_cut_capture_keeps_all_whole_packets(
    tmp_path: Path, write, drop: int, lines: list[bytes]
):
    complete = write(tmp_path / "whole", timed(traffic.tls_session()))
    shorter = cut(complete, drop)
    assert output_of(shorter) == lines[:-1]
    assert counted(shorter) == Counted(len(lines) - 1, 0, cut=True)
    assert counted(complete) == Counted(len(lines), 0)
    assert [count_packets(capture) for capture in (shorter, complete)] == [
        Counted(len(lines) - 1, cut=True),
        Counted(len(lines)),
    ]


def test_a_capture_may_be_cut_inside_of_its_compression(tmp_path: Path):
    shorter = cut(compress(tcp_udp_only(tmp_path / "x.pcap"), "gzip"), 500)
    assert counted(shorter).cut
    assert (
        counted(shorter).packets == count_packets(shorter).packets == len(output_of(shorter)) > 10
    )


@pytest.mark.parametrize(
    "content", [b"just a text\n" * 100, b"\x13\x37" * 500, None], ids=["text", "noise", "vanished"]
)
def test_what_is_no_capture_says_so_with_the_words_of_tshark(tmp_path: Path, content: bytes | None):
    path = tmp_path / "x.pcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        NotACapture,
        match=rf"^not a capture: {path}\. tshark said: tshark: The file \"{path}\" "
        "(isn't a capture file|doesn't exist)",
    ):
        output_of(path)
    assert counted(path) == count_packets(path) == Counted()


def test_a_capture_that_may_not_be_read_says_so(tmp_path: Path, capture: Path):
    path = tmp_path / "x.pcap"
    path.write_bytes(capture.read_bytes())
    path.chmod(0)
    program = tshark().program
    if os.geteuid() == 0:  # root may read anything, so let somebody else try
        program = script(
            tmp_path / "tshark", f'exec setpriv --reuid 65534 --clear-groups -- "{program}" "$@"'
        )
    with pytest.raises(NotACapture, match=r"permission"):
        output_of(path, program=Tshark(program, "4.0.0"))


@pytest.mark.parametrize(
    "content",
    [
        "d4c3b2a1 0200 0400 00000000 00000000 00000400 e7030000",
        "0a0d0d0a 1c000000 4d3c2b1a 6300 0000 ffffffffffffffff 1c000000",
    ],
    ids=["link type", "version"],
)
def test_what_this_tshark_does_not_know_a_newer_one_may(tmp_path: Path, content: str):
    path = tmp_path / "new"
    path.write_bytes(bytes.fromhex(content))
    with pytest.raises(TsharkFailed, match=r"doesn't support.*; a newer tshark may read it$"):
        output_of(path)


def test_a_damaged_capture_fails_with_the_words_of_tshark(tmp_path: Path, capture: Path):
    data = bytearray(capture.read_bytes())
    data[32:36] = b"\xff\xff\xff\x7f"  # the captured length of the first packet
    path = tmp_path / "damaged.pcap"
    path.write_bytes(data)
    with pytest.raises(
        TsharkFailed,
        match=r"damaged\.pcap: tshark stopped with status [1-9]\d* and said: tshark: "
        r".*2147483647-byte packet",
    ):
        output_of(path)
    assert counted(path) == count_packets(path) == Counted()


NAMES = [
    "-",
    "-r.pcap",
    "with space.pcap",
    "quo'te\"s.pcap",
    "näme 日本.pcap",
    "new\nline\t.pcap",
    "*?$HOME`id`%s.pcap",
    os.fsdecode(b"bad\xff.pcap"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_file_name_is_only_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: Path, lines: list[bytes], name: str
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(capture.read_bytes())
    assert output_of(Path(name)) == lines
    assert (counted(Path(name)), count_packets(Path(name))) == (
        Counted(len(lines), 0),
        Counted(len(lines)),
    )


# What its end means


def dying(path: Path, *, after: int) -> Tshark:
    """Make a tshark that says so many bytes, then is killed."""
    return Tshark(
        script(
            path, f'{NO_FORKS}\n"{tshark().program}" "$@" 2>&- | head -c {after}; kill -KILL $$'
        ),
        "4.0.0",
    )


@pytest.mark.parametrize(
    "after", [0, 100, 1_000_000], ids=["at once", "inside a line", "after the last line"]
)
def test_a_killed_tshark_is_never_taken_for_a_whole_capture(
    tmp_path: Path, capture: Path, lines: list[bytes], after: int
):
    seen = []
    with (
        pytest.raises(TsharkFailed, match=rf"^{capture}: tshark was ended by signal 9;") as caught,
        dying(tmp_path / "t", after=after).lines(capture) as s,
    ):
        seen += s.output.readlines()
    assert caught.value.status == -signal.SIGKILL
    assert b"".join(seen) == b"".join(lines)[:after]


def test_a_tshark_killed_while_it_reads_is_named_by_its_signal(tmp_path: Path):
    def read_and_kill(path: Path) -> None:
        with tshark().lines(path) as stream:
            assert stream.output.readline().lstrip().startswith(b"1\t")
            readers()[0].kill()
            stream.output.read()

    with (
        endless_capture(tmp_path / "x.pcap") as path,
        pytest.raises(TsharkFailed, match=r"x\.pcap: tshark was ended by signal 9;"),
    ):
        read_and_kill(path)


def test_what_a_reader_does_not_understand_is_a_failure_of_tshark(capture: Path):
    def read_in_vain() -> None:
        with tshark().lines(capture) as stream:
            stream.output.read()
            stream.not_understood = "Expected 23 columns, got 7"

    with pytest.raises(
        TsharkFailed, match=r"tls\.pcap: tshark's output was not understood: Expected 23 columns"
    ):
        read_in_vain()


@only_linux
def test_tshark_ends_when_its_reader_fails(tmp_path: Path):
    children = []

    def fail(path: Path) -> None:
        with tshark().lines(path) as stream:
            stream.output.readline()
            children.append(readers()[0].pid)
            raise ZeroDivisionError

    with endless_capture(tmp_path / "x.pcap") as path:
        with pytest.raises(ZeroDivisionError):
            fail(path)
        assert is_gone(*children)


@only_linux
def test_tshark_ends_when_its_parent_is_killed(tmp_path: Path):
    program = """if True:
        import sys
        from pathlib import Path
        from mt_pipeline.tshark.command import Tshark
        from mt_pipeline_tests.tshark.parts import readers
        with Tshark(sys.argv[1], "4.0.0").lines(Path(sys.argv[2])) as stream:
            stream.output.readline()
            print(readers()[0].pid, flush=True)
            stream.output.read()
    """
    with endless_capture(tmp_path / "x.pcap") as path:
        arguments = [sys.executable, "-c", program, tshark().program, str(path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
            child = int(parent.stdout.readline())
            assert psutil.Process(child).name() == "tshark"
            parent.kill()
        assert is_gone(child)


# Nobody's preferences


def profiles(home: Path) -> Iterable[Path]:
    """List where Wireshark looks for a user's settings and plugins."""
    return (
        home / ".config" / "wireshark",
        home / ".wireshark",
        home / "given",
        home / "xdg" / "wireshark",
    )


def test_preferences_columns_filters_and_plugins_of_the_user_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capture: Path, lines: list[bytes]
):
    ran = tmp_path / "ran"
    for folder in profiles(tmp_path):
        (folder / "plugins").mkdir(parents=True)
        (folder / "preferences").write_text(
            'gui.column.format: "No.", "%m"\n'
            "tcp.desegment_tcp_streams: FALSE\nnameres.network_name: TRUE\n"
        )
        (folder / "disabled_protos").write_text("tls\ntcp\n")
        for plugin in (folder / "init.lua", folder / "plugins" / "mine.lua"):
            plugin.write_text(f'io.open("{ran}", "w"):write("ran")')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")

    def as_the_user() -> bytes:
        return subprocess.run(
            [tshark().program, "-r", capture, "-T", "fields", "-e", SNI],
            capture_output=True,
            check=True,
        ).stdout

    assert as_the_user().strip() == b"", "this tshark reads what is below HOME"
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(tmp_path / "given"))
    assert as_the_user().strip() == b"", "and what it is told to read"
    ran.unlink(missing_ok=True)
    assert output_of(capture) == lines
    assert (counted(capture), count_packets(capture)) == (
        Counted(len(lines), 0),
        Counted(len(lines)),
    )
    with pytest.raises(FilterError):
        tshark().check_filter("tcp.prot")
    assert not ran.exists()
