"""Which gaps a chart leaves out."""

import pytest

from mt_pipeline.rows.stretches import LONGEST_GAP, MOST_STRETCHES, stretches

MINUTE, DAY = 60, 86_400


def times(*begins: int, long: int = MINUTE) -> tuple[list[int], list[int]]:
    return list(begins), [begin + long for begin in begins]


def test_a_year_without_packets_is_left_out():
    assert stretches(*times(0, 365 * DAY)) == [(0, MINUTE), (365 * DAY, 365 * DAY + MINUTE)]


def test_one_stray_packet_does_not_flatten_the_others():
    """A clock that was not yet set gives the first packet the year 1970."""
    begins, ends = times(*range(1_700_000_000, 1_700_003_600, 2 * MINUTE))
    assert stretches([0, *begins], [0, *ends]) == [(0, 0), (begins[0], ends[-1])]


@pytest.mark.parametrize("gap", [0, 1, LONGEST_GAP * 2 * MINUTE])
def test_short_gaps_are_drawn(gap: int):
    assert stretches(*times(0, MINUTE + gap)) == [(0, 2 * MINUTE + gap)]


def test_a_gap_that_is_a_second_longer_is_not():
    assert len(stretches(*times(0, MINUTE + LONGEST_GAP * 2 * MINUTE + 1))) == 2


@pytest.mark.parametrize(
    ("captures", "drawn"), [(MOST_STRETCHES, MOST_STRETCHES), (MOST_STRETCHES + 1, 1), (1000, 1)]
)
def test_captures_of_every_month_are_a_calendar(captures: int, drawn: int):
    result = stretches(*times(*range(0, captures * 90 * DAY, 90 * DAY)))

    assert len(result) == drawn
    assert (result[0][0], result[-1][1]) == (
        0,
        (captures - 1) * 90 * DAY + MINUTE,
    )


def test_single_packets_have_no_time_that_could_be_drawn_larger():
    assert stretches([0, 365 * DAY], [0, 365 * DAY]) == [(0, 365 * DAY)]
