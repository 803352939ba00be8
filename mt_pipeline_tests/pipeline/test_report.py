"""`mt-pipeline report`: what it says, which file it writes, and which it leaves alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline_tests.enrichment.city_files import city_file, nested
from mt_pipeline_tests.pipelines import Lab, Result
from mt_pipeline_tests.report.parts import Page

Terminal = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of our own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def experiment(lab: Lab) -> str:
    """Load an experiment of two captures, one with a filter. Its folder's name is not folded."""
    lab.put("Report It/a.pcap")
    lab.put("Report It/b.pcap")
    assert lab.run("Report It/a.pcap").success
    assert lab.run("Report It/b.pcap", display_filter="dns.flags.response == 0").success
    return "Report It"


def test_the_report_lies_where_one_works(terminal: Terminal, experiment: str, here: Path):
    result = terminal("report", experiment)

    path = here / "report-report_it.html"
    assert result.err == ""
    size = f"{path.stat().st_size / 1000:.3g} kB"
    assert result == Result(
        0,
        f"report-report_it.html: 3 packets of 2 captures; the page itself is a file of {size}\n",
        "",
    )
    assert list(here.iterdir()) == [path]
    assert Page(path.read_text(encoding="utf-8")).figures["Packets"] == "3"


def test_it_says_how_its_captures_were_read(
    terminal: Terminal, lab: Lab, experiment: str, here: Path
):
    assert terminal("report", experiment, "--output", "x.html").code == 0
    rows = {
        row[0]: row
        for row in Page((here / "x.html").read_text(encoding="utf-8")).tables["Captures"]
    }

    version = lab.workspace().tshark.version
    assert [rows[f"Report It/{name}.pcap"][-3:] for name in "ab"] == [
        ["", version, lab.record("Report It/a.pcap").sha256],
        ["dns.flags.response == 0", version, lab.record("Report It/b.pcap").sha256],
    ]


def test_without_tshark_there_is_a_report_all_the_same(
    terminal: Terminal, experiment: str, here: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_TSHARK", "/nowhere/tshark")

    assert terminal("report", experiment).code == 0
    assert {
        row[-2]
        for row in Page((here / "report-report_it.html").read_text(encoding="utf-8")).tables[
            "Captures"
        ]
    } == {""}


def test_an_earlier_report_is_replaced_and_another_file_is_not(
    terminal: Terminal, experiment: str, here: Path
):
    (here / "a").mkdir()
    assert terminal("report", experiment, "--output", "a/b.html").code == 0
    assert terminal("report", experiment, "--output", "a/b.html").code == 0
    (here / "diary.html").write_text("<p>Dear diary")

    result = terminal("report", experiment, "--output", "diary.html")

    assert result == Result(
        1,
        "",
        "mt-pipeline: diary.html is there and is no report of ours: it stays as it is; "
        "name another file by --output\n",
    )
    assert (here / "diary.html").read_text() == "<p>Dear diary"


@pytest.mark.parametrize(
    "name",
    [
        "never_heard_of",
        "'; DROP TABLE captured_packets",
        'nobody"',
        "%s nobody",
        "unheard/../../of",
        "",
    ],
)
def test_an_experiment_that_does_not_exist_is_one_line_and_leaves_no_file(
    terminal: Terminal, here: Path, name: str
):
    result = terminal("report", name)

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("mt-pipeline: QuestDB has no view packets_")
    assert "so there is nothing to report: `mt-pipeline status` lists the experiments" in result.err
    assert result.err.count("\n") == 1
    assert list(here.iterdir()) == []


def test_an_experiment_without_packets_is_one_line(terminal: Terminal, lab: Lab, here: Path):
    key = "report empty/a.pcap"
    lab.put(key)
    assert lab.run(key, display_filter="frame.number > 9").success

    result = terminal("report", "report_empty")

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "mt-pipeline: the view packets_report_empty has no rows, so there is nothing to report: "
        "`mt-pipeline status` says what became of its captures\n"
    )
    assert list(here.iterdir()) == []


def test_where_nothing_can_be_written_is_one_line(terminal: Terminal, experiment: str, here: Path):
    (here / "file").touch()

    result = terminal("report", experiment, "--output", "file/report.html")

    assert result.code == 2
    assert result.err.count("\n") == 1


def test_no_folder_is_made_for_a_report(terminal: Terminal, experiment: str, here: Path):
    result = terminal("report", experiment, "--output", "reprots/x.html")

    assert result == Result(
        2,
        "",
        "mt-pipeline: Invalid value for '--output': 'reprots' is no folder yet: "
        "make it first, or name another file (see `mt-pipeline report --help`)\n",
    )
    assert list(here.iterdir()) == []


def test_a_misspelt_experiment_gets_a_suggestion(terminal: Terminal, experiment: str, here: Path):
    assert experiment == "Report It"
    result = terminal("report", "raport it")

    assert result.code == 1
    assert result.err.endswith(
        "`mt-pipeline status` lists the experiments; did you mean 'report_it'?\n"
    )
    assert list(here.iterdir()) == []


def test_the_city_file_in_use_is_named_as_its_licence_asks(
    terminal: Terminal, lab: Lab, here: Path, monkeypatch: pytest.MonkeyPatch
):
    city = city_file(
        here / "city.mmdb",
        {"8.8.8.0/24": nested("US", "United States", "Mountain View", (-122.0, 37.4))},
        kind="DBIP-City-Lite",
    )
    monkeypatch.setenv("MT_ENRICHMENT", "offline")
    monkeypatch.setenv("MT_OFFLINE_CITY_MMDB", str(city))
    assert terminal("ingest", lab.put("report city/a.pcap")).code == 0

    assert terminal("report", "report city").code == 0
    page = Page((here / "report-report_city.html").read_text(encoding="utf-8"))
    assert page.links == [
        "https://db-ip.com",  # of places
        "https://db-ip.com",  # of networks
        "https://creativecommons.org/licenses/by/4.0/",
        "https://github.com/porimol/countryinfo",
    ]
    assert [row[0] for row in page.tables["Countries"]] == ["United States"]
