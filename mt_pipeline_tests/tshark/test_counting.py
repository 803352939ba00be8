"""How many packets a capture has, and how many of them twice, as the programs beside tshark count them."""

import time
from pathlib import Path

import psutil
import pytest

from mt_pipeline.tshark.counting import Counted, count_packets, duplicates
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import compress, cut, timed, write_pcap, write_pcapng
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.tshark.parts import endless_capture, output_of


def test_capinfos_counts_what_tshark_says(tmp_path: Path):
    path = everything(tmp_path / "x.pcapng")
    packets = len(output_of(path))
    assert packets > 300
    assert count_packets(path) == Counted(packets, cut=False)
    assert {count_packets(compress(path, how)) for how in ("gzip", "zstd", "lz4")} == {Counted(packets, cut=False)}


def test_a_capture_without_packets_has_none(tmp_path: Path):
    path = write_pcapng(tmp_path / "x.pcapng", [])
    assert count_packets(path) == Counted(0, cut=False)
    assert output_of(path) == []


def test_a_packet_with_the_bytes_of_one_of_the_four_before_is_there_twice(tmp_path: Path):
    packets = {letter: dns(f"{letter}.example.com")[0] for letter in "abcdef"}
    captures = {"abcdef": 0, "aabc": 1, "aaabb": 3, "abcda": 1, "abcdea": 0}
    for letters, expected in captures.items():
        with duplicates(write_pcap(tmp_path / f"{letters}.pcap", timed(packets[letter] for letter in letters))) as counted:
            assert (letters, counted()) == (letters, expected)


def test_of_a_capture_that_is_cut_the_whole_packets_count(tmp_path: Path):
    with duplicates(cut(write_pcap(tmp_path / "x.pcap", timed(dns()[:1] * 4)), 1)) as counted:
        assert counted() == 2


def test_what_is_no_capture_has_no_count(tmp_path: Path):
    path = tmp_path / "text.pcap"
    path.write_text("hello")
    with duplicates(path) as counted:
        assert counted() is None


def test_leaving_early_ends_the_count(tmp_path: Path):
    def counting() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child.name() in ("editcap", "setpriv")]

    with endless_capture(tmp_path / "x.pcap") as endless, duplicates(endless):
        assert counting()
        began = time.monotonic()
    assert not counting()
    assert time.monotonic() - began < 30


def test_without_the_programs_nothing_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = write_pcap(tmp_path / "x.pcap", timed(dns()))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_packets(path) == Counted(None, cut=False)
    with duplicates(path) as counted:
        assert counted() is None
