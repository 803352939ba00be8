"""Charts of a capture: traffic over time as a small SVG, and tables with bars.

Dagster draws Markdown below 1,000 characters on the page itself, so each chart is made to fit.
For the underlying concept, see https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlencode

import dagster as dg

from mt_pipeline.defs.markdown import INLINE, Metadata, escaped, inline_table
from mt_pipeline.rows.summary import CaptureSummary

LISTS = {
    "app_tag": "applications",
    "app_category_tag": "categories",
    "remote_name": "names",
    "remote_organisation": "organisations",
    "tls_sni": "server_names",
    "geo_country": "countries",
    "protocol": "protocols",
}
"""The metadata key `top_…` for each column of the flows."""

_DASHBOARD = "mt-experiment"  # uid in grafana/dashboards/

_WIDTH, _HEIGHT, _BAR = 240, 60, 12
_OUT, _IN = "#d55e00", "#0072b2"  # for colour-blind people, on white and on black


def of_summary(summary: CaptureSummary, *, grafana: str | None, experiment: str) -> Metadata:
    """Return charts of a loaded capture, and numbers that Dagster plots across captures.

    Args:
        summary: the summary of the capture.
        grafana: address of Grafana; None if there is none.
        experiment: the folded name of its experiment.
    """
    if summary.first is None or summary.last is None:
        return {}
    return {
        "traffic_over_time": dg.MetadataValue.md(_over_time(summary)),
        **{
            f"top_{name}": _bars(name, summary.most[column])
            for column, name in LISTS.items()
            if summary.most.get(column)
        },
        "bytes": summary.bytes_out + summary.bytes_in,
        "bytes_out": summary.bytes_out,
        "bytes_in": summary.bytes_in,
        "public_bytes": summary.public_bytes,
        "share_without_application": round(summary.unnamed_share, 4),
        **(
            {}
            if grafana is None
            else {
                "dashboard": dg.MetadataValue.url(
                    _dashboard(grafana, experiment, summary.first, summary.last)
                )
            }
        ),
    }


def _over_time(summary: CaptureSummary) -> str:
    """Draw bytes out as bars above the line, and bytes in as bars below it."""
    parts = summary.over_time
    most = max(max(out, into) for out, into in parts) or 1
    width = max(1, _WIDTH // len(parts))
    middle = _HEIGHT // 2
    paths = []
    for which, colour, sign in ((0, _OUT, -1), (1, _IN, 1)):
        # Relative steps are the shortest way to write bars.
        heights = [sign * round(part[which] / most * (middle - 1)) for part in parts]
        steps = "".join(
            f"v{height - before}h{width}"
            for before, height in zip([0, *heights], heights, strict=False)
        ).replace("v0", "")
        paths.append(f'<path fill="{colour}" d="M0 {middle}{steps}V{middle}z"/>')
    view = f'viewBox="0 0 {width * len(parts)} {_HEIGHT}" width="{2 * _WIDTH}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {view}>{"".join(paths)}</svg>'
    image = f"![traffic](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
    words = f"up: out, down: in; {most:,} bytes at most in one of {len(parts)} parts"
    if summary.gaps:
        longest = timedelta(seconds=max(summary.gaps))
        left_out = (
            "a gap without packets of"
            if len(summary.gaps) == 1
            else f"{len(summary.gaps)} gaps without packets, the longest of"
        )
        words += f" of {timedelta(seconds=summary.part_seconds)}; left out: {left_out} {longest}"
    drawn = f"{image}\n\n{words}"
    return drawn if len(drawn) < INLINE else words


def _bars(what: str, values: Sequence[tuple[str, int]]) -> dg.MetadataValue:
    """Draw a table with a bar in each line."""
    most = max(total for _, total in values) or 1
    lines = (
        [escaped(name), f"{total:,}", chr(0x2588) * max(1, round(_BAR * total / most))]
        for name, total in values
    )
    return inline_table({what.replace("_", " "): "---", "bytes": "--:", "": "---"}, lines)


def _dashboard(grafana: str, experiment: str, first: datetime, last: datetime) -> str:
    """Return the address of the dashboard for an experiment and the time of a capture."""
    query = {
        "var-experiment": experiment,
        "from": int(first.timestamp() * 1000),
        "to": int(last.timestamp() * 1000) + 1000,
    }
    return f"{grafana.rstrip('/')}/d/{_DASHBOARD}?{urlencode(query)}"
