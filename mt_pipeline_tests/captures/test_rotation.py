"""Files of one rotation, by their names: which comes before which, and which is written no more."""

from itertools import permutations
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.rotation import befores, complete, place_of


def file(key: str, written: int) -> Capture:
    return Capture(key, Path("inbox"), 1, written)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("lab/a_00001_20260101120000.pcapng", "lab/a_00002_20260101120500.pcapng"),
        ("lab/a_00009_20260101120000", "lab/a_00010_20260101120000"),
        ("lab/a_99999_20260101120000.pcap.gz", "lab/a_00000_20260101120500.pcap"),
        ("lab/a_20260101120000_00001.pcapng", "lab/a_20260101120500_00002.pcapng"),
        ("lab/a.pcap", "lab/a.pcap1"),
        ("a.pcap9", "a.pcap10"),
        ("lab/a.pcap00", "lab/a.pcap01"),
        ("lab/a.pcap1.gz", "lab/a.pcap2"),
    ],
)
def test_the_file_before_is_told_by_the_names(before: str, after: str):
    others = ["lab/b_00001_20260101120000.pcapng", "lab/a.pcapng", "other/a.pcap", "lab/a_00001.pcap", after]

    assert befores([*others, before]) == {after: before}
    assert befores(others) == {}


@pytest.mark.parametrize("key", ["lab/monday.pcapng", "lab/a_00001.pcap0ng", "lab/a_1_2026.pcapng", "lab/notes"])
def test_other_names_are_of_no_rotation(key: str):
    assert place_of(key) is None


def test_a_later_start_with_the_same_name_is_told_apart():
    first = ["a_00001_20260101120000.pcapng", "a_00002_20260101120500.pcapng"]
    second = ["a_00001_20260202120000.pcapng", "a_00002_20260202120500.pcapng"]
    for keys in permutations(first + second):
        assert befores(keys) == {first[1]: first[0], second[1]: second[0]}


def test_a_file_is_complete_when_the_next_one_is_there_and_it_has_not_changed_since():
    first, second, third = (file(f"lab/a_0000{number}_2026010112000{number}.pcapng", number) for number in (1, 2, 3))
    busy = file(first.key, 9)

    assert complete([first, second, third], [third, second, first]) == {first.key, second.key}
    assert complete([busy], [busy, second]) == set()
    assert complete([first], [first, third]) == set()


def test_in_a_ring_of_tcpdump_that_begins_anew_the_file_that_is_written_is_not_complete():
    ring = [file("lab/a.pcap0", 3), file("lab/a.pcap1", 4), file("lab/a.pcap2", 2)]

    assert complete(ring, ring) == {"lab/a.pcap0"}
