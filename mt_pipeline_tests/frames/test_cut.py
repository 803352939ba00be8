"""Frames are copied as they are: bytes, lengths, times to the nanosecond, in the order of time."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mt_pipeline.frames.cut import Source, Written, write
from mt_pipeline.frames.models import Differs, FrameError, NotAPacket, Unreadable, Wanted
from mt_pipeline.pipeline.failures import sentence
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.originals import (
    KEYS,
    Original,
    block,
    interface,
    option,
    originals,
    packet,
    secrets,
    section,
)
from mt_pipeline_tests.building.traffic import arp, dns
from mt_pipeline_tests.frames.parts import parse, tshark_fields
from mt_pipeline_tests.soaking import cuts

Captures = tuple[Path, Mapping[str, Sequence[Original]]]


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    folder = tmp_path_factory.mktemp("originals")
    return folder, originals(folder)


def source(path: Path, numbers: Sequence[int], frames: Sequence[Original] | None = None) -> Source:
    """Want frames of a capture, and say what they are if that is known."""
    wanted = [
        Wanted(number, frames[number - 1].time_ns // 1000, frames[number - 1].wire_length)
        if frames
        else Wanted(number)
        for number in numbers
    ]
    return Source(path.name, path, iter(wanted), len(wanted))


def cut(output: Path, *sources: Source) -> Written:
    return write(sources, output, application="tests", comment="of a test")


def test_there_are_captures_of_many_kinds(captures: Captures):
    assert len(captures[1]) >= 30


def test_our_numbers_are_those_of_tshark_for_every_kind(captures: Captures, tmp_path: Path):
    folder, found = captures
    for name, frames in found.items():
        read = tshark_fields(folder / name, "frame.number", "frame.time_epoch", "frame.len")
        assert [(int(number), int(length)) for number, _, length in read] == [
            (number, frame.wire_length) for number, frame in enumerate(frames, 1)
        ], name
        assert [time.replace(".", "") for _, time, _ in read] == [
            str(frame.time_ns) for frame in frames
        ], name
    del tmp_path


def test_random_selections_are_the_original_frames(tmp_path: Path):
    """`make soak` runs a thousand."""
    assert cuts.selections(tmp_path, count=100) == []


def test_tshark_reads_the_same_of_the_cut_as_of_the_captures(captures: Captures, tmp_path: Path):
    folder, found = captures
    names = ["be-ns.pcap", "mixed.pcapng", "rich-be.pcapng", "two-sections.pcapng.gz"]
    output = tmp_path / "cut.pcapng"
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "eth.src", "ip.dst")

    cut(output, *[source(folder / name, range(1, len(found[name]) + 1)) for name in names])

    expected = [row for name in names for row in tshark_fields(folder / name, *fields)]
    read = tshark_fields(output, *fields, "frame.interface_name", "frame.comment")
    assert sorted(row[:-2] for row in read) == sorted(expected)
    assert [row[0] for row in read] == sorted(row[0] for row in read)
    assert {row[-2] for row in read} == {
        "be-ns.pcap",
        "mixed.pcapng",
        "rich-be.pcapng: wlan0",
        "rich-be.pcapng: eth0 ü",
        "two-sections.pcapng.gz: part0",
        "two-sections.pcapng.gz: part1",
    }
    assert all("frame " in row[-1] for row in read)


@pytest.mark.parametrize("name", ["rich-le.pcapng", "rich-be.pcapng"])
def test_secrets_flags_and_comments_stay_in_either_byte_order(
    captures: Captures, tmp_path: Path, name: str
):
    folder, _ = captures
    output = tmp_path / "cut.pcapng"

    cut(output, source(folder / name, [1, 2]))

    read = parse(output)
    assert read.secrets == [KEYS]
    assert {tuple(frame.comments) for frame in read.frames} == {
        (f"{name}, frame 1",),
        (f"{name}, frame 2", "hello"),
    }
    assert sorted(tshark_fields(output, "frame.packet_flags")) == [[""], ["0x00000001"]]


def test_what_does_not_fit_into_memory_is_sorted_on_disk(
    captures: Captures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also with more temporary files than may be open."""
    monkeypatch.setattr("mt_pipeline.frames.sorting.MEMORY", 3000)
    monkeypatch.setattr("mt_pipeline.frames.sorting._MOST_FILES", 4)
    folder, found = captures
    chosen = {name: range(1, len(frames) + 1) for name, frames in found.items()}

    cuts.check(folder, found, chosen, tmp_path / "cut.pcapng")

    assert [path.name for path in tmp_path.iterdir()] == ["cut.pcapng"]


@pytest.mark.parametrize(
    ("wanted", "kind", "reason"),
    [
        (Wanted(3), Differs, "it has no frame 3"),
        (Wanted(1, 1_700_000_000_000_000), Differs, "frame 1 is not the packet of its row"),
        (Wanted(1, None, 5), Differs, "frame 1 is not the packet of its row"),
    ],
)
def test_a_frame_that_is_not_that_of_its_row_is_refused_before_anything_is_written(
    tmp_path: Path, wanted: Wanted, kind: type[FrameError], reason: str
):
    path = write_pcap(tmp_path / "a.pcap", timed(arp()))
    output = tmp_path / "cut.pcapng"

    with pytest.raises(kind, match=f"^a.pcap: {reason}: load the capture again"):
        cut(output, Source("a.pcap", path, iter([wanted]), 1))

    assert not output.exists()


def test_an_error_about_a_frame_is_a_sentence_for_people():
    """It was shown as `unexpected Differs`."""
    assert sentence(Differs("k/a.pcap: it has no frame 3")) == "k/a.pcap: it has no frame 3"


def test_a_format_that_is_not_read_here_goes_through_editcap(captures: Captures, tmp_path: Path):
    """The variant of pcap with longer records, which the inbox takes."""
    folder, found = captures
    path = tmp_path / "variant.pcap"
    command = ["editcap", "-F", "modpcap", str(folder / "le-us.pcap"), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    assert path.read_bytes()[:4] == bytes.fromhex("34cdb2a1")

    cut(tmp_path / "cut.pcapng", source(path, range(1, len(found["le-us.pcap"]) + 1)))

    read = parse(tmp_path / "cut.pcapng").frames
    assert {frame.comments[0]: frame.frame for frame in read} == {
        f"variant.pcap, frame {number}": frame
        for number, frame in enumerate(found["le-us.pcap"], 1)
    }


def test_what_tshark_counts_as_a_frame_counts_and_is_not_cut(tmp_path: Path):
    frames = timed(dns("journal.example.com"))
    entry = block("<", 9, b"__REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=hello\n")
    others = block("<", 0xBAD, bytes(8)) + block("<", 0x40000BAD, bytes(8))
    path = tmp_path / "journal.pcapng"
    path.write_bytes(
        section("<")
        + interface("<", 1)
        + packet("<", 0, frames[0])
        + entry
        + others
        + packet("<", 0, frames[1])
    )
    assert [number for (number,) in tshark_fields(path, "frame.number")] == list("12345")

    cut(tmp_path / "cut.pcapng", source(path, [1, 5]))
    assert [read.frame.data for read in parse(tmp_path / "cut.pcapng").frames] == [
        frame.data for frame in frames
    ]
    with pytest.raises(NotAPacket, match="frame 2 is no packet, but a block of type 9"):
        cut(tmp_path / "cut.pcapng", source(path, [2]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (section("<") + b"\x06\0\0\0\xf0\xff\xff\xff" + bytes(20), "claims to have 4,294,967,280"),
        (section("<") + block("<", 6, bytes(20)), "an interface that is not described"),
        (section("<") + interface("<", 1) + block("<", 6, bytes(8)), "too short"),
        (section("<") + b"\x06\0\0\0\x04\0\0\0" + bytes(20), "claims to have 4 bytes"),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(16) + b"\xff" * 16, "frame 1 claims to have"),
        (b"\x1f\x8b\x08 no gzip at all, whatever it says", "editcap stopped with status"),
        (b"no capture", "editcap stopped with status"),
    ],
)
def test_a_damaged_capture_is_named_with_the_reason(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "bad.pcapng"
    path.write_bytes(content)

    with pytest.raises(Unreadable, match=f"^bad.pcapng: .*{reason}"):
        cut(tmp_path / "cut.pcapng", source(path, [1]))


def test_odd_options_do_no_harm(tmp_path: Path):
    """Options that claim more bytes than there are, or numbers that are too short."""
    (frame, *_) = timed(arp())
    odd = option("<", 2, b"\1") + b"\x01\0\xff\xff"
    path = tmp_path / "odd.pcapng"
    path.write_bytes(
        section("<") + interface("<", 1) + packet("<", 0, frame, options=odd) + secrets("<")
    )

    cut(tmp_path / "cut.pcapng", source(path, [1]))

    assert [read.frame.data for read in parse(tmp_path / "cut.pcapng").frames] == [frame.data]


def test_link_types_that_are_mixed_are_told(captures: Captures, tmp_path: Path):
    folder, _ = captures

    written = cut(tmp_path / "a.pcapng", source(folder / "mixed.pcapng", [1, 2, 3]))

    assert (written.link_types, written.captures) == ({1: 2, 113: 1}, 1)
