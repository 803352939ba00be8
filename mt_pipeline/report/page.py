"""The page of a report: it fills `page.html` with the summary and the ledger's records.

The page loads no script, font or picture, and a policy in its head forbids them. The same input
makes the same page.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mt_pipeline import __version__
from mt_pipeline.captures.records import Record, State
from mt_pipeline.report import charts, formatting, grouping, world_map
from mt_pipeline.report.grouping import Bar
from mt_pipeline.report.places import circles
from mt_pipeline.report.results import CaptureRows
from mt_pipeline.report.sources import Files, sources
from mt_pipeline.report.summary import Summary

GENERATOR = "mt_pipeline report"
"""Name of the generator in a page's head; the version follows."""

MOST_DEVICES = 50
MOST_CAPTURES = 1000

_HERE = Path(__file__).parent
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= formatting.FILTERS


@dataclass(frozen=True)
class Made:
    """How the rows were made, according to the ledger and this machine.

    Attributes:
        records: records of the experiment's captures, by key.
        tshark: version of the installed tshark; None if there is none.
        read_by_it: keys of the captures that this tshark read, with its present preferences.
        files: files of the provider `offline`.
    """

    records: Mapping[str, Record]
    tshark: str | None
    read_by_it: frozenset[str]
    files: Files


@dataclass(frozen=True)
class _Capture:
    """A row of the table of captures."""

    rows: CaptureRows
    read: int | None
    notes: str
    filter: str
    tshark: str
    sha256: str


def render(experiment: str, summary: Summary, made: Made, *, now: datetime) -> str:
    """Return the page of an experiment as HTML.

    Args:
        experiment: its name.
        summary: the summary of its rows.
        made: how the rows were made.
        now: the time to print on the page.
    """
    shown = {row.capture for row in summary.captures}
    skipped: Counter[str] = Counter()
    for key in shown & made.records.keys():
        skipped.update(made.records[key].skipped)
    unit, traffic = _traffic(summary)
    drawn = circles(summary.spots)
    return _ENVIRONMENT.get_template("page.html").render(
        experiment=experiment,
        s=summary,
        generator=f"{GENERATOR} {__version__}",
        version=__version__,
        generated=round(now.timestamp()) * 10**6,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        unit=unit,
        traffic=traffic,
        land=world_map.land() if drawn else "",
        circles=drawn,
        on_map=sum(circle.spot.bytes for circle in drawn),
        growth=charts.line(
            summary.timeline,
            summary.addresses,
            label="Number of public addresses seen so far, over time",
        ),
        destinations=summary.destinations[0].destinations if summary.destinations else 0,
        rest=_rest(summary),
        captures=[_capture(row, made) for row in summary.captures],
        missing=_all_missing(made, shown),
        skipped=sorted(skipped.items()),
        tshark=made.tshark,
        sources=sources(
            summary.answered_by,
            made.files,
            has_city=summary.has_offline_city,
            has_domains=bool(summary.domains),
            has_map=bool(drawn),
            has_owners=bool(summary.ends),
        ),
        most_devices=MOST_DEVICES,
        most_captures=MOST_CAPTURES,
    )


def _traffic(summary: Summary) -> tuple[str, Markup]:
    """Draw the bytes over time; return their unit and the chart."""
    all_values = (series.values for series in summary.series)
    steps = [sum(values) for values in zip(*all_values, strict=True)]
    unit, size = formatting.unit_of(max(steps, default=0))
    areas = [
        (series.colour, [value / size for value in series.values]) for series in summary.series
    ]
    label = "Bytes over time, stacked; the table below has the numbers"
    return unit, charts.areas(summary.timeline, areas, label=label)


def _rest(summary: Summary) -> Bar:
    """Sum up the packets of all remote ends that the page does not list."""
    listed = grouping.total(summary.destinations)
    return Bar("", summary.public.packets - listed.packets, summary.public.bytes - listed.bytes)


def _capture(rows: CaptureRows, made: Made) -> _Capture:
    record = made.records.get(rows.capture)
    if record is None or record.sha256 is None:
        return _Capture(rows, None, "", "", "", "")
    notes = [
        *(f"{packets:,} {reason}" for reason, packets in sorted(record.skipped.items())),
        *(["cut inside its last packet"] if record.cut else []),
    ]
    tshark = made.tshark or ""
    if tshark and rows.capture not in made.read_by_it:
        tshark = f"not {tshark}"
    return _Capture(
        rows, record.packets, ", ".join(notes), record.filter or "", tshark, record.sha256
    )


def _all_missing(made: Made, shown: set[str]) -> list[tuple[str, str]]:
    """List the keys of captures that are not in the report, with the reasons."""
    reasons = ((record.key, _missing(record, shown)) for record in made.records.values())
    return [(key, reason) for key, reason in reasons if reason]


def _missing(record: Record, shown: set[str]) -> str | None:
    """Return why a capture is not in the report, or not in its present state; None if it is."""
    if record.state is not State.DONE:
        return record.state
    if record.key in shown:
        return None
    if record.packets_expired_at is not None:
        return "its packets have expired, only its flows are kept"
    return "its rows are not in QuestDB" if record.rows else "no packets"
