"""All files of the inbox are listed, whatever their names and links; only captures pass."""

import bz2
import gzip
import lzma
import multiprocessing
import os
import random
import socket
import stat
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.captures.first_bytes import sniff
from mt_pipeline.captures.identity import Capture, CaptureUnreadableError, capture_at
from mt_pipeline.captures.inbox import walk

PCAP = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
PCAPNG = bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000")


def put(inbox: Path, *names: str | bytes) -> None:
    for name in names:
        path = inbox / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PCAP)


def keys(inbox: Path) -> list[str]:
    result = walk(inbox)
    assert not result.problems
    assert not result.refused
    return sorted(capture.key for capture in result.captures)


def test_files_at_any_depth_are_found_with_size_and_time(tmp_path):
    put(tmp_path, "a.pcap", "lab/day 1/deep/er/b.pcap")
    os.utime(tmp_path / "a.pcap", ns=(1, 123_456_789))
    captures = {capture.key: capture for capture in walk(tmp_path).captures}
    assert set(captures) == {"a.pcap", "lab/day 1/deep/er/b.pcap"}
    assert captures["a.pcap"] == capture_at(tmp_path, "a.pcap")
    assert captures["a.pcap"].mtime_ns == 123_456_789
    assert captures["lab/day 1/deep/er/b.pcap"].path.read_bytes() == PCAP


def test_hidden_and_unfinished_names_are_passed_over(tmp_path):
    put(
        tmp_path,
        ".a.pcap",
        ".hidden/a.pcap",
        "lab/.b.pcap.Xy12Zz",
        "c.pcap.part",
        "d.PARTIAL",
        "e.pcap.crdownload",
        "f.tmp",
        "g.pcap~",
        "h.filepart",
    )
    put(tmp_path, "kept.pcap", "parts.pcap", "x.part/kept.pcap")
    assert keys(tmp_path) == ["kept.pcap", "parts.pcap", "x.part/kept.pcap"]


def test_odd_names_are_keys_as_they_are(tmp_path):
    names = [
        "-n.pcap",
        "a b.pcap",
        'it\'s "x".pcap',
        "50%25.pcap",
        "ü é 实验.pcap",
        "#?&=,;|`<>.pcap",
        "up..pcap",
        "back\\slash.pcap",
    ]
    put(tmp_path, *names)
    assert keys(tmp_path) == sorted(names)


def test_names_that_cannot_be_keys_are_refused_one_by_one(tmp_path):
    put(tmp_path, b"lab/caf\xe9.pcap", "lab/new\nline.pcap", "a...b/c.pcap", "lab/good.pcap")
    result = walk(tmp_path)
    assert [capture.key for capture in result.captures] == ["lab/good.pcap"]
    assert {refused.key for refused in result.refused} == {
        r"./lab/caf\xe9.pcap",
        r"./lab/new\u000aline.pcap",
        "a...b/c.pcap",
    }
    assert all(
        refused.key in refused.reason and Path(refused.location).exists()
        for refused in result.refused
    )


def test_a_folder_named_like_a_capture_is_a_folder(tmp_path):
    put(tmp_path, "a.pcap/b.pcap")
    (tmp_path / "empty.pcap").mkdir()
    assert keys(tmp_path) == ["a.pcap/b.pcap"]


def test_linked_folders_are_walked_once_by_the_first_name(tmp_path):
    inbox = tmp_path / "inbox"
    put(inbox, "real/a.pcap")
    put(tmp_path, "outside/b.pcap", "outside/sub/c.pcap")
    for name, target in {
        "z": "outside",
        "k": "outside",
        "s": "outside/sub",
        "a": "inbox/real",
    }.items():
        (inbox / name).symlink_to(tmp_path / target)
    assert keys(inbox) == ["k/b.pcap", "k/sub/c.pcap", "real/a.pcap"]


def test_loops_and_links_upwards_end(tmp_path):
    inbox = tmp_path / "inbox"
    put(inbox, "lab/a.pcap")
    put(tmp_path, "beside/b.pcap")
    (inbox / "lab" / "self").symlink_to(inbox / "lab")
    (inbox / "top").symlink_to(inbox)
    (inbox / "above").symlink_to(tmp_path)
    (inbox / "root").symlink_to("/")
    (inbox / "ring").symlink_to("ring")
    assert keys(inbox) == ["lab/a.pcap"]


def test_a_file_linked_under_two_names_is_two_captures(tmp_path):
    put(tmp_path, "far.pcap")
    for name in ("one", "two"):
        (tmp_path / "inbox" / name).mkdir(parents=True)
        (tmp_path / "inbox" / name / "a.pcap").symlink_to(tmp_path / "far.pcap")
    result = walk(tmp_path / "inbox").captures
    assert sorted(capture.key for capture in result) == ["one/a.pcap", "two/a.pcap"]
    assert {capture.size for capture in result} == {len(PCAP)}


def test_what_is_not_a_file_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.pcap")
    Path("nowhere.pcap").symlink_to("gone")
    Path("device.pcap").symlink_to("/dev/zero")
    Path("piped.pcap").symlink_to("pipe.pcap")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.pcap")
        assert keys(tmp_path) == []


def test_an_inbox_that_is_not_there_is_a_problem_not_an_empty_inbox(tmp_path):
    result = walk(tmp_path / "inbox")
    assert not result.captures
    assert result.problems == [
        f"The folder {tmp_path}/inbox cannot be read (No such file or directory): "
        "make it readable for this user."
    ]


def test_an_inbox_reached_by_a_link_is_walked(tmp_path):
    put(tmp_path, "real/lab/a.pcap")
    (tmp_path / "inbox").symlink_to("real")
    assert keys(tmp_path / "inbox") == ["lab/a.pcap"]


def _come_and_go(inbox: str, started: Event) -> None:
    while True:
        started.set()
        put(Path(inbox), "b.pcap", "sub/c.pcap")
        Path(inbox, "b.pcap").unlink()
        Path(inbox, "sub", "c.pcap").unlink()
        Path(inbox, "sub").rmdir()


def test_files_that_come_and_go_meanwhile_do_no_harm(tmp_path):
    put(tmp_path, "a.pcap")
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    churn = context.Process(target=_come_and_go, args=(str(tmp_path), started))
    churn.start()
    try:
        assert started.wait(60)
        seen: set[frozenset[str]] = set()
        walks, deadline = 0, time.monotonic() + 60
        # A busy machine may not let the other process run for thousands of walks.
        while walks < 5000 or (len(seen) < 2 and time.monotonic() < deadline):
            result = walk(tmp_path)
            assert not result.problems
            assert not result.refused
            seen.add(frozenset(capture.key for capture in result.captures))
            walks += 1
    finally:
        churn.kill()
        churn.join()
    assert len(seen) > 1
    assert all({"a.pcap"} <= names <= {"a.pcap", "b.pcap", "sub/c.pcap"} for names in seen)


def _look_as_nobody(results: "multiprocessing.SimpleQueue[object]") -> None:
    if os.geteuid() == 0:  # root may read everything
        os.setgid(65534)
        os.setuid(65534)
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder)
        put(inbox, "shut/a.pcap", "b.pcap", "c.pcap")
        capture = capture_at(inbox, "b.pcap")
        (inbox / "b.pcap").chmod(0)
        (inbox / "l.pcap").symlink_to(inbox / "shut" / "a.pcap")
        (inbox / "shut").chmod(0)
        result = walk(inbox)
        results.put(
            (
                result.problems,
                [refused.reason for refused in result.refused],
                [capture.key for capture in result.captures],
                sniff(capture),
            )
        )
        (inbox / "shut").chmod(stat.S_IRWXU)


def test_what_may_not_be_read_is_said_and_the_rest_is_found():
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    child = context.Process(target=_look_as_nobody, args=(results,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    problems, refused, result, sniffed = results.get()
    assert problems == [
        "The folder shut cannot be read (Permission denied): make it readable for this user."
    ]
    assert sorted(refused) == [
        f"{name} cannot be read: make it readable for this user." for name in ("b.pcap", "l.pcap")
    ]
    assert result == ["c.pcap"]
    assert sniffed == "b.pcap cannot be read: make it readable for this user."


def sniffed(inbox: Path, content: bytes) -> str | None:
    (inbox / "a b.pcap").write_bytes(content)
    return sniff(capture_at(inbox, "a b.pcap"))


@pytest.mark.parametrize(
    "magic", ["d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "34cdb2a1", "a1b2cd34"]
)
def test_captures_of_all_byte_orders_and_clocks_are_known(tmp_path, magic):
    assert sniffed(tmp_path, bytes.fromhex(magic) + PCAP[4:]) is None


def test_pcapng_of_both_byte_orders_is_known(tmp_path):
    assert sniffed(tmp_path, PCAPNG) is None
    big = bytes.fromhex("0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c")
    assert sniffed(tmp_path, big) is None


@pytest.mark.parametrize(
    "content",
    [
        PCAPNG[:4] + b'{"a": 1}',
        PCAPNG[:4] + b'{"a": 1, "b": [1, 2, 3, 4, 5, 6]}',
        PCAPNG[:4] + b"Dear all, this is a letter",
        *(PCAPNG[:length] for length in (4, 8, 12, 16, 20, 23)),
    ],
)
def test_what_only_begins_with_the_ends_of_lines_of_pcapng_is_no_capture(tmp_path, content):
    """Tshark opens these as JSON or as files of other kinds, each with a packet."""
    for written in (content, gzip.compress(content)):
        reason = sniffed(tmp_path, written)
        assert reason is not None
        assert "is not a capture" in reason


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
@pytest.mark.parametrize("head", [PCAP, PCAPNG])
def test_compressed_captures_are_known_by_what_is_in_them(tmp_path, codec, head):
    def compressed(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()

    complete = compressed(head + os.urandom(300_000))
    assert sniffed(tmp_path, complete) is None
    assert sniffed(tmp_path, complete[: len(complete) // 2]) is None
    assert sniffed(tmp_path, compressed(complete)) is not None
    reason = sniffed(tmp_path, compressed(b"Dear all, " * 1000))
    assert reason is not None
    assert reason.startswith(
        f"a b.pcap is not a capture: what is compressed in it ({codec}) is no capture; put pcap"
    )
    assert sniffed(tmp_path, compressed(b"")) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"Dear all,\n",
        b"\xd4\xc3",
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18broken",
        lzma.compress(PCAP),
        PCAP[1:],
        b"\0" * 100,
    ],
)
def test_anything_else_is_refused_with_name_and_cure(tmp_path, content):
    reason = sniffed(tmp_path, content)
    assert reason is not None
    assert reason.startswith("a b.pcap ")
    cures = ("remove it.", "replace it.", "put what comes out here.")
    assert reason.endswith(cures)


def test_an_empty_file_is_called_empty(tmp_path):
    assert sniffed(tmp_path, b"") == "a b.pcap is empty: record it again, or remove it."


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such file")
def test_a_file_of_the_system_that_cannot_be_read_is_empty_and_no_broken_disk(tmp_path):
    (tmp_path / "a.pcap").symlink_to("/proc/self/mem")
    assert sniff(capture_at(tmp_path, "a.pcap")) == (
        "a.pcap is empty: record it again, or remove it."
    )


def test_what_took_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pcap")
    (tmp_path / "b.pcap").mkdir()
    for key in ("a.pcap", "b.pcap", "c.pcap"):
        assert sniff(Capture(key, tmp_path, 1, 1)) is not None


def test_looking_changes_nothing(tmp_path):
    put(tmp_path, "lab/a.pcap")
    (tmp_path / "lab" / "b.pcap.gz").write_bytes(gzip.compress(PCAP))
    before = [
        (path, path.stat().st_mtime_ns, path.stat().st_ctime_ns)
        for path in sorted(tmp_path.rglob("*"))
    ]
    for capture in walk(tmp_path).captures:
        assert sniff(capture) is None
    assert [
        (path, path.stat().st_mtime_ns, path.stat().st_ctime_ns)
        for path in sorted(tmp_path.rglob("*"))
    ] == before


@pytest.mark.parametrize(
    ("name", "head", "cure"),
    [
        (
            "a.pcap.xz",
            lzma.compress(PCAP),
            "is packed with xz, which tshark does not read: "
            "unpack it with `unxz a.pcap.xz`, and put what comes out here.",
        ),
        ("a b.bz2", bz2.compress(PCAP), "unpack it with `bunzip2 'a b.bz2'`"),
        ("a.zip", b"PK\x03\x04" + bytes(50), "unpack it with `unzip a.zip`"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(50), "unpack it with `7z x a.7z`"),
        ("a.rar", b"Rar!\x1a\x07" + bytes(50), "unpack it with `unrar x a.rar`"),
    ],
)
def test_the_cure_for_what_is_packed_is_to_unpack_it(
    tmp_path: Path, name: str, head: bytes, cure: str
):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(head)
    assert cure in (sniff(capture_at(tmp_path, f"x/{name}")) or "")


def test_a_pipe_is_called_one(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert sniff(Capture("pipe", tmp_path, 0, 0)) == (
        "pipe is not a file but a pipe, a device or a folder: "
        "write what comes out of it to a file, and put that here."
    )
    with pytest.raises(CaptureUnreadableError, match=r"^pipe is not a file but a pipe"):
        capture_at(tmp_path, "pipe")


@pytest.mark.parametrize("magic", ["1f8b08", "28b52ffd", "04224d18"])
def test_compressed_bytes_that_make_no_sense_are_refused(tmp_path, magic):
    chance = random.Random(4)  # noqa: S311 - the same bytes every time
    for length in (0, 1, 3, 4, 17, 300):
        for _ in range(20):
            reason = sniffed(tmp_path, bytes.fromhex(magic) + chance.randbytes(length))
            assert reason is not None
            assert reason.startswith("a b.pcap ")
