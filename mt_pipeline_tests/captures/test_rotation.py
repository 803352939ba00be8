"""Files of one rotation, by their names: which comes before which, and which is written no more."""

import random
from itertools import pairwise, permutations
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.rotation import complete, place_of, previous_files


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
    others = [
        "lab/b_00001_20260101120000.pcapng",
        "lab/a.pcapng",
        "other/a.pcap",
        "lab/a_00001.pcap",
        after,
    ]

    assert previous_files([*others, before]) == {after: before}
    assert previous_files(others) == {}


@pytest.mark.parametrize(
    "key", ["lab/monday.pcapng", "lab/a_00001.pcap0ng", "lab/a_1_2026.pcapng", "lab/notes"]
)
def test_other_names_are_of_no_rotation(key: str):
    assert place_of(key) is None


def test_a_later_start_with_the_same_name_is_told_apart():
    first = ["a_00001_20260101120000.pcapng", "a_00002_20260101120500.pcapng"]
    second = ["a_00001_20260202120000.pcapng", "a_00002_20260202120500.pcapng"]
    for keys in permutations(first + second):
        assert previous_files(keys) == {first[1]: first[0], second[1]: second[0]}


def test_a_file_is_complete_when_the_next_one_is_there_and_it_has_not_changed_since():
    first, second, third = (
        file(f"lab/a_0000{number}_2026010112000{number}.pcapng", number) for number in (1, 2, 3)
    )
    busy = file(first.key, 9)

    assert complete([first, second, third], [third, second, first]) == {first.key, second.key}
    assert complete([busy], [busy, second]) == set()
    assert complete([first], [first, third]) == set()


def test_in_a_ring_of_tcpdump_that_begins_anew_the_file_that_is_written_is_not_complete():
    ring = [file("lab/a.pcap0", 3), file("lab/a.pcap1", 4), file("lab/a.pcap2", 2)]

    assert complete(ring, ring) == {"lab/a.pcap0"}


WINTER = [
    "a_00001_20261025023000.pcapng",
    "a_00002_20261025025500.pcapng",
    "a_00003_20261025022000.pcapng",  # at three clocks were set back to two
    "a_00004_20261025024500.pcapng",
    "a_00005_20261025031000.pcapng",
]


def test_where_clocks_are_set_back_the_number_tells_which_comes_before():
    """The time in a name is local: for an hour, the next file has an earlier one."""
    yesterday = [f"a_0000{number}_202610240{number}0000.pcapng" for number in range(1, 6)]
    expected = {after: before for days in (yesterday, WINTER) for before, after in pairwise(days)}
    chance = random.Random(1)  # noqa: S311 - the same orders every time
    for _ in range(20):
        keys = yesterday + WINTER
        chance.shuffle(keys)
        assert previous_files(keys) == expected
        assert list(previous_files(keys)) == [*yesterday[1:], *WINTER[1:]]


def test_of_two_starts_within_an_hour_each_has_its_own_files():
    first = ["a_00001_20260101120000.pcapng", "a_00002_20260101120500.pcapng"]
    second = ["a_00001_20260101123000.pcapng", "a_00002_20260101123500.pcapng"]
    assert previous_files(first + second) == {first[1]: first[0], second[1]: second[0]}


def test_where_clocks_are_set_back_a_file_is_complete_when_the_next_one_is_there():
    files = [file(key, number) for number, key in enumerate(WINTER)]
    assert complete(files, files) == set(WINTER[:-1])
    assert complete([file(WINTER[1], 9)], files) == set()


def test_fourteen_digits_that_are_no_time_are_of_no_rotation():
    assert place_of("a_00001_99999999999999.pcapng") is None


def test_a_ring_of_all_numbers_has_an_order():
    keys = [f"a_{number:05}_20260101120000.pcap" for number in range(100_000)]
    previous = previous_files(keys)
    assert len(previous) == len(keys)
    assert previous[keys[0]] == keys[-1]
