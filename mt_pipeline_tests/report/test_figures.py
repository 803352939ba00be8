"""Spans and charts: steps that people would choose, axes for any time, and nothing in the drawing that is not ours."""

import re
from itertools import pairwise

import pytest

from mt_pipeline.report.figures import WIDTHS, areas, line
from mt_pipeline.report.span import Span

SECOND, DAY = 10**6, 86_400 * 10**6
NOW, END = 1_700_000_000 * SECOND, 253_402_300_799_999_999


@pytest.mark.parametrize(
    ("seconds", "step"), [(0, 1000), (0.05, 1000), (60, SECOND), (3500, 30 * SECOND), (86_000, 900 * SECOND), (29 * 86_400, 21_600 * SECOND)]
)
def test_a_span_has_at_most_120_steps_of_a_length_that_people_choose(seconds: float, step: int):
    span = Span.over(NOW + 1, NOW + 1 + int(seconds * SECOND))

    assert (span.step, span.start % span.step) == (step, 0)
    assert span.edges[0] <= NOW + 1
    assert span.edges[-1] > NOW + 1 + int(seconds * SECOND)
    assert len(span.edges) == span.steps + 1 <= 121


@pytest.mark.parametrize("power", range(3, 18))
def test_any_time_has_an_axis_whose_labels_do_not_touch(power: int):
    """A label of matplotlib's date axis needs room, and choosing none is a warning, which fails here."""
    for first in (0, NOW, max(0, END - 4 * 10**power)):
        span = Span.over(first, min(first + 3 * 10**power, END))
        drawn = line(span, [1] * span.steps, said="")
        for chart in drawn.split("</svg>")[:2]:
            labels = [(float(x), text) for x, text in re.findall(r'text-anchor: middle[^>]*x="([\d.]+)"[^>]*>([^<]*)', chart)]
            assert labels or span.edges[-1] > END - 366 * DAY
            for (left, one), (right, other) in pairwise(labels):
                assert right - left > 6 * (len(one) + len(other)) / 2


def test_a_chart_is_drawn_in_two_widths_with_the_colours_of_the_page_and_no_id():
    span = Span.over(NOW, NOW + 60 * SECOND)
    drawn = areas(span, [(0, [1.0] * span.steps), (9, [2.0] * span.steps)], said='what <is> "shown"')

    assert re.findall(r'<svg class="chart (\w+)"', drawn) == list(WIDTHS)
    assert drawn.count('aria-label="what &lt;is&gt; &#34;shown&#34;"') == 2
    assert {"fill: var(--series-0)", "fill: var(--series-9)"} <= set(re.findall(r"fill: var\(--series-\d\)", drawn))
    assert not re.search(r"#[0-9a-f]{6}| id=|font-family|url\(|<style|href", drawn)
