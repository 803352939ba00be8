"""Spans and charts: sensible steps, axes for any time, and no text of others in the drawing."""

import re
from itertools import pairwise

import pytest

from mt_pipeline.report.charts import WIDTHS, areas, line
from mt_pipeline.report.timeline import Span, Timeline

SECOND, DAY = 10**6, 86_400 * 10**6
NOW, END = 1_700_000_000 * SECOND, 253_402_300_799_999_999


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        (0, 1000),
        (0.05, 1000),
        (60, SECOND),
        (3500, 30 * SECOND),
        (86_000, 900 * SECOND),
        (29 * 86_400, 21_600 * SECOND),
    ],
)
def test_a_span_has_at_most_120_steps_of_a_length_that_people_choose(seconds: float, step: int):
    span = Span.over(NOW + 1, NOW + 1 + int(seconds * SECOND))

    assert (span.step, span.start % span.step) == (step, 0)
    assert span.edges[0] <= NOW + 1
    assert span.edges[-1] > NOW + 1 + int(seconds * SECOND)
    assert len(span.edges) == span.steps + 1 <= 121


@pytest.mark.parametrize("power", range(3, 18))
def test_any_time_has_an_axis_whose_labels_do_not_touch(power: int):
    """Labels of matplotlib's date axis need room. An axis without labels warns, and fails here."""
    for first in (0, NOW, max(0, END - 4 * 10**power)):
        timeline = Timeline.over([(first, min(first + 3 * 10**power, END))])
        [span] = timeline.spans
        drawn = line(timeline, [1] * span.steps, label="")
        for chart in drawn.split("</svg>")[:2]:
            labels = [
                (float(x), text)
                for x, text in re.findall(
                    r'text-anchor: middle[^>]*x="([\d.]+)"[^>]*>([^<]*)', chart
                )
            ]
            assert labels or span.edges[-1] > END - 366 * DAY
            for (left, text), (right, other) in pairwise(labels):
                assert right - left > 6 * (len(text) + len(other)) / 2


def test_a_chart_is_drawn_in_two_widths_with_the_colours_of_the_page_and_no_id():
    timeline = Timeline.over([(NOW, NOW + 60 * SECOND)])
    drawn = areas(
        timeline,
        [(0, [1.0] * timeline.steps), (9, [2.0] * timeline.steps)],
        label='what <is> "shown"',
    )

    assert re.findall(r'<svg class="chart (\w+)"', drawn) == list(WIDTHS)
    assert drawn.count('aria-label="what &lt;is&gt; &#34;shown&#34;"') == 2
    assert {"fill: var(--series-0)", "fill: var(--series-9)"} <= set(
        re.findall(r"fill: var\(--series-\d\)", drawn)
    )
    assert not re.search(r"#[0-9a-f]{6}| id=|font-family|url\(|<style|href", drawn)


def test_of_two_minutes_a_year_apart_both_are_cut_into_seconds():
    """They were cut into steps of a week: two lines in an empty chart."""
    first, second = (NOW, NOW + 59 * SECOND), (NOW + 365 * DAY, NOW + 365 * DAY + 59 * SECOND)
    timeline = Timeline.over([first, second])

    assert timeline.step == SECOND
    assert [(span.start, span.steps) for span in timeline.spans] == [
        (first[0], 60),
        (second[0], 60),
    ]
    assert timeline.starts == [
        start + number * SECOND for start in (first[0], second[0]) for number in range(60)
    ]
    assert [timeline.places[start // SECOND] for start in timeline.starts] == list(range(120))
    assert [part for _, part in timeline.parts] == [slice(0, 60), slice(60, 120)]


def test_each_stretch_is_a_strip_to_one_scale_with_its_own_date():
    short, long = (NOW, NOW + 10 * SECOND), (NOW + 365 * DAY, NOW + 365 * DAY + 59 * SECOND)
    timeline = Timeline.over([short, long])
    values = [float(place) for place in range(timeline.steps)]

    wide, narrow, _ = areas(timeline, [(0, values)], label="").split("</svg>")

    for chart in (wide, narrow):
        assert re.findall(r">(20..-Nov-..) 22:1.</text>", chart) == ["2023-Nov-14", "2024-Nov-13"]
        assert chart.count("fill: var(--series-0)") == 2
    [_, _, width, height] = re.findall(r'viewBox="(\d+) (\d+) (\d+) (\d+)"', wide)[0]
    assert (int(width), int(height)) == (WIDTHS["wide"][0], 220)
    ends = [
        max(float(x) for x, _ in re.findall(r"([\d.]+) ([\d.]+)", path))
        for path in re.findall(r'<path d="([^"]*)"[^>]*fill: var\(--series-0\)', wide)
    ]
    assert ends[1] - ends[0] > 400, "what is shorter ends sooner"


@pytest.mark.parametrize("apart", [1, 2, 100])
def test_stretches_that_share_a_step_are_one_chart(apart: int):
    timeline = Timeline.over(
        [(NOW, NOW + 59 * SECOND), (NOW + 59 * SECOND + apart, NOW + 90 * SECOND)]
    )

    assert len(timeline.spans) == 1
    assert len(set(timeline.places.values())) == timeline.steps == 91
