"""The packets of a capture and its duplicates, as editcap and capinfos count them."""

import os
import time
from pathlib import Path

import psutil
import pytest

from mt_pipeline.tshark.packet_count import Counted, count_packets, counting
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import compress, cut, timed, write_pcap, write_pcapng
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.tshark.parts import counted, endless_capture, output_of


def test_it_counts_what_tshark_says(tmp_path: Path):
    path = everything(tmp_path / "x.pcapng")
    packets = len(output_of(path))
    assert packets > 300
    found = counted(path)
    assert (found.packets, found.cut, count_packets(path)) == (packets, False, Counted(packets))
    assert {counted(compress(path, how)) for how in ("gzip", "zstd", "lz4")} == {found}


def test_a_capture_without_packets_has_none(tmp_path: Path):
    path = write_pcapng(tmp_path / "x.pcapng", [])
    assert (counted(path), count_packets(path), output_of(path)) == (Counted(0, 0), Counted(0), [])


def test_one_packet_is_counted(tmp_path: Path):
    assert counted(write_pcap(tmp_path / "x.pcap", timed(dns()[:1]))) == Counted(1, 0)


def test_a_packet_with_the_bytes_of_one_of_the_four_before_is_there_twice(tmp_path: Path):
    packets = {letter: dns(f"{letter}.example.com")[0] for letter in "abcdef"}
    for letters, twice in {"abcdef": 0, "aabc": 1, "aaabb": 3, "abcda": 1, "abcdea": 0}.items():
        path = write_pcap(
            tmp_path / f"{letters}.pcap", timed(packets[letter] for letter in letters)
        )
        assert (letters, counted(path)) == (letters, Counted(len(letters), twice))


def test_of_a_capture_that_is_cut_the_whole_packets_count(tmp_path: Path):
    assert counted(cut(write_pcap(tmp_path / "x.pcap", timed(dns()[:1] * 4)), 1)) == Counted(
        3, 2, cut=True
    )


def test_capinfos_counts_what_editcap_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refuses = tmp_path / "editcap"
    refuses.write_text(
        "#!/bin/sh\n"
        "echo 'editcap: The capture file being read "
        "can'\\''t be written as a \"pcapng\" file.' >&2\n"
        "exit 2\n"
    )
    refuses.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = cut(write_pcap(tmp_path / "x.pcap", timed(dns()[:1] * 4)), 1)
    assert counted(path) == Counted(3, None, cut=True)


def test_leaving_early_ends_the_count(tmp_path: Path):
    def programs() -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process().children()
            if child.name() in ("editcap", "prlimit", "setpriv")
        ]

    with endless_capture(tmp_path / "x.pcap") as endless, counting(endless):
        assert programs()
        began = time.monotonic()
    assert not programs()
    assert time.monotonic() - began < 30


def test_without_the_programs_nothing_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = write_pcap(tmp_path / "x.pcap", timed(dns()))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert counted(path) == count_packets(path) == Counted()
