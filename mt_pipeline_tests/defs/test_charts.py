"""Charts of a capture: right numbers, small enough for the page, and safe for any name."""

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import dagster as dg
import pytest

from mt_pipeline.defs import checks
from mt_pipeline.defs.charts import of_summary
from mt_pipeline.rows.summary import PARTS, CaptureSummary
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.pipelines import Lab

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def made(over_time: list[tuple[int, int]], **most: list[tuple[str, int]]) -> CaptureSummary:
    out, into = (sum(part[way] for part in over_time) for way in (0, 1))
    return CaptureSummary(
        START, START + timedelta(seconds=len(over_time)), 10, out, into, 1000, 400, over_time, most
    )


def text_of(described: dict, name: str) -> str:
    value = described[name]
    assert isinstance(value, dg.MarkdownMetadataValue)
    return value.value


def bars_of(markdown: str) -> list[list[int]]:
    """Read the heights off the picture: of each path, its steps."""
    [encoded] = re.findall(r"base64,([A-Za-z0-9+/=]+)\)", markdown)
    paths = ET.fromstring(base64.b64decode(encoded)).findall("{http://www.w3.org/2000/svg}path")  # noqa: S314  # our own
    heights = []
    for path in paths:
        at, found = 0, []
        for step, width in re.findall(r"(?:v(-?\d+))?(h\d+)", path.get("d", "")):
            at += int(step or 0)
            found += [abs(at)] if width else []
        heights.append(found)
    return heights


def test_the_heights_are_those_of_the_traffic_and_none_is_outside_of_the_picture():
    out, into = bars_of(
        text_of(
            of_summary(
                made([(100, 0), (50, 200), (0, 100), (200, 200)]), grafana=None, experiment="x"
            ),
            "traffic_over_time",
        )
    )
    assert (max(out), max(into)) == (29, 29)
    assert [round(height / 29 * 200, -1) for height in out] == [100, 50, 0, 200]
    assert [round(height / 29 * 200, -1) for height in into] == [0, 200, 100, 200]


@pytest.mark.parametrize("parts", [1, 2, PARTS])
def test_whatever_the_traffic_the_picture_is_there_and_shown_inline(parts: int):
    wild = [(n * 7919 % 1_000_003 * 10**6, (n * 104_729 % 999_983) * 10**6) for n in range(parts)]
    text = text_of(of_summary(made(wild), grafana=None, experiment="x"), "traffic_over_time")
    assert text.startswith("![traffic](data:image/svg+xml;base64,")
    assert len(text) < 1000


def test_gaps_that_are_left_out_are_named():
    summary = replace(made([(1, 1)] * PARTS), part_seconds=3600, gaps=[86_400, 365 * 86_400])
    text = text_of(of_summary(summary, grafana=None, experiment="x"), "traffic_over_time")

    assert text.startswith("![traffic]")
    assert text.endswith(
        f"one of {PARTS} parts of 1:00:00; "
        "left out: 2 gaps without packets, the longest of 365 days, 0:00:00"
    )
    assert len(text) < 1000


def test_names_that_others_chose_break_no_table_and_a_long_list_is_cut():
    names = [(f"a|b`<script>{number}" + "x" * 60, 1000 - number) for number in range(10)]
    text = text_of(
        of_summary(made([(1, 1)], tls_sni=names), grafana=None, experiment="x"), "top_server_names"
    )
    assert len(text) < 1000
    assert "<script>" not in text
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in text.splitlines())


def test_without_packets_there_is_nothing_to_draw():
    assert of_summary(CaptureSummary(), grafana="http://g", experiment="x") == {}


def test_the_link_to_the_dashboard_has_the_time_of_the_capture():
    described = of_summary(made([(1, 1)]), grafana="http://127.0.0.1:3001/", experiment="kitchen")
    link = urlsplit(described["dashboard"].value)
    assert link.path == "/d/mt-experiment"
    assert parse_qs(link.query) == {
        "var-experiment": ["kitchen"],
        "from": ["1772366400000"],
        "to": ["1772366402000"],
    }


@pytest.mark.parametrize(("unnamed", "passed"), [(0, True), (100, True), (101, False)])
def test_a_tenth_without_application_is_too_much(unnamed: int, passed: bool):
    check = checks.applications_known(
        "a/b.pcap", CaptureSummary(public_bytes=1000, unnamed_bytes=unnamed)
    )
    assert check.passed is passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert ("MT_NETIFY_API_KEY" in (check.description or "")) is not passed


def test_a_loaded_capture_tells_its_story(lab: Lab):
    path = lab.inbox / "pictured" / "a.pcap"
    path.parent.mkdir(parents=True, exist_ok=True)
    unknown = tls_session("www.example.com")
    frames = [*unknown, *dns()]
    write_pcap(path, timed(frames))

    ran = lab.run("pictured/a.pcap", workspace=lab.workspace(grafana_url="http://127.0.0.1:3001"))

    assert ran.success
    described = ran.metadata("questdb_packets", "pictured/a.pcap")
    assert (
        described["bytes_out"] + described["bytes_in"]
        == sum(map(len, frames))
        == described["bytes"]
        == described["public_bytes"]
    )
    without = sum(map(len, unknown)) / described["bytes"]
    assert described["share_without_application"] == round(without, 4)
    for key in ("top_server_names", "top_names"):
        assert "www.example.com" in str(described[key])
    assert "dns" in str(described["top_applications"])
    assert "top_organisations" in described
    assert all(name in str(described["top_protocols"]) for name in ("tls", "dns"))
    [check] = ran.checks("applications_known")
    assert not check.passed
