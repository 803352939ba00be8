"""Charts over time, as inline SVG without JavaScript. Colours come from the page's style sheet.

Their only text is numbers and times. The page itself draws bars, and the legend with its names.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mt_pipeline.report.grouping import MOST_LABELS, REST
from mt_pipeline.report.timeline import Timeline

Edges = npt.NDArray[np.float64]
Draw = Callable[[Axes, Edges, slice], None]
"""Draws a slice of the steps between these edges."""

WIDTHS = {"wide": (760, 250), "narrow": (330, 230)}
"""Width and height in points.

Letters of a wide chart are too small on a phone, so there are two; the style sheet shows one.
"""

_STRIP = 110
"""Height of a strip, where there are several."""

_DAY = 86_400 * 10**6
_YEAR_9999 = 8029 * 365.2425  # in days since 1970: the end of matplotlib's calendar
# Placeholders of the style sheet's variables.
_PAPER, _INK, _FAINT, *_SERIES = (
    f"#0102{number:02x}" for number in range(3 + MOST_LABELS + len(REST))
)
_VARIABLES = {
    _PAPER: "paper",
    _INK: "ink",
    _FAINT: "faint",
    **{colour: f"series-{number}" for number, colour in enumerate(_SERIES)},
}
_STYLE: dict[Any, object] = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 11,
    "timezone": "UTC",
    "axes.edgecolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "text.color": _INK,
    **{
        f"{axis}tick.{what}": value
        for axis in "xy"
        for what, value in (("color", _FAINT), ("labelcolor", _INK), ("major.size", 0))
    },
}


def areas(
    timeline: Timeline, series: Sequence[tuple[int, Sequence[float]]], *, label: str
) -> Markup:
    """Stack series over the time, the first at the bottom.

    Args:
        timeline: the time; each of its spans is a strip.
        series: number of the colour (`--series-0` and so on), and a value per step.
        label: what the chart shows, for screen readers.
    """

    def draw(axes: Axes, edges: Edges, part: slice) -> None:
        floor = np.zeros(len(edges) - 1)
        for colour, values in series:
            top = floor + values[part]
            axes.stairs(
                top,
                edges,
                baseline=floor,
                fill=True,
                facecolor=_SERIES[colour],
                edgecolor=_PAPER,
                linewidth=0.4,
            )
            floor = top

    return _in_both_widths(timeline, draw, label)


def line(timeline: Timeline, values: Sequence[float], *, label: str) -> Markup:
    """Draw a value over the time."""

    def draw(axes: Axes, edges: Edges, part: slice) -> None:
        axes.stairs(values[part], edges, baseline=None, edgecolor=_SERIES[0], linewidth=2)

    return _in_both_widths(timeline, draw, label)


def _in_both_widths(timeline: Timeline, draw: Draw, label: str) -> Markup:
    return Markup("").join(
        _svg(timeline, draw, label, variant=variant, size=size) for variant, size in WIDTHS.items()
    )


def _svg(
    timeline: Timeline, draw: Draw, label: str, *, variant: str, size: tuple[int, int]
) -> Markup:
    parts = timeline.parts
    width, height = size if len(parts) == 1 else (size[0], _STRIP * len(parts))
    longest = max(span.steps for span, _ in parts)
    with rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        strips = figure.subplots(len(parts), sharey=True, squeeze=False)[:, 0]
        for axes, (span, part) in zip(strips, parts, strict=True):
            edges = np.array(span.edges) / _DAY
            draw(axes, edges, part)
            end = (span.start + longest * span.step) / _DAY
            axes.set_xlim(edges[0], end)
            axes.yaxis.set_major_locator(
                MaxNLocator(5 if len(parts) == 1 else 2, steps=[1, 2, 5, 10])
            )
            _write_times(axes, most=width // 66, is_known=end < _YEAR_9999)
        strips[0].set_ylim(bottom=0)  # the strips share it; set it once all are drawn
        written = io.StringIO()
        figure.savefig(
            written,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    return _inline(written.getvalue(), label, variant, (width, height))


def _write_times(axes: Axes, *, most: int, is_known: bool) -> None:
    """Write times below a strip, if the calendar has them."""
    if is_known:
        # Both have no types.
        locator = AutoDateLocator(minticks=2, maxticks=most)  # type: ignore[no-untyped-call]
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(formatter)
    else:
        axes.set_xticks([])
    for artist in axes.findobj():
        artist.set_clip_on(False)  # clipping needs ids, which could collide with the page's


def _inline(svg: str, label: str, variant: str, size: tuple[int, int]) -> Markup:
    """Remove what only a file needs, and the ids, size, fonts and colours of the style sheet."""
    body = svg.partition("</defs>")[2].rpartition("</svg>")[0]
    body = re.sub(r' id="[^"]*"', "", body)
    body = re.sub(r"font-family: [^;]*; ", "", body)
    # Nobody sees less than a tenth of a point, and the text is half as long.
    body = re.sub(r"(\.\d)\d+", r"\1", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    head = Markup('<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        variant, *size, label
    )
    return head + Markup(body + "</svg>")  # noqa: S704  it contains no text of others
