"""Every query of every dashboard on a real QuestDB, as the plugin sends it: no value breaks one.

`test_panels.py` checks the results.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from mt_pipeline_tests.building.traffic import tls_session
from mt_pipeline_tests.grafana.loaded import AWKWARD, FIRST, HOSTILE, QUERIES, Loaded
from mt_pipeline_tests.grafana.plugin import Json, Query, Value


def named_in(panel: Json) -> set[str]:
    """Return the columns that overrides and links of a panel refer to."""
    if not panel:
        return set()
    overrides = panel["fieldConfig"]["overrides"]
    properties = [
        setting
        for override in overrides
        for setting in override["properties"]
        if setting["id"] == "links"
    ]
    links = "".join(link["url"] for setting in properties for link in setting["value"])
    # Names that differ between series are matched by regular expressions; others are columns.
    named = {
        override["matcher"]["options"]
        for override in overrides
        if override["matcher"]["id"] == "byName"
    }
    return named | {part.split(":")[0] for part in _fields(links)}


def _fields(links: str) -> list[str]:
    return [part.partition("}")[0] for part in links.split("${__data.fields.")[1:]]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("escaped", [True, False], ids=["", "quotes as they are"])
def test_no_value_breaks_a_query_or_gets_out_of_its_quotes(
    loaded: Loaded, query: Query, escaped: bool
):
    several = {
        name: list(HOSTILE)
        for name in ("capture", "direction", "app", "app_exclude", "sni", "sni_exclude", "protocol")
    }
    loaded.ask(
        query,
        escaped=escaped,
        experiment=[FIRST, *HOSTILE]
        if query.dashboard in ("mt-compare", "mt-host", "mt-pipeline")
        else FIRST,
        **several,
    )
    for hostile in HOSTILE:
        values = {name: hostile for name in ("experiment", "capture", "app", "sni", "who")}
        assert query.kind == "variable" or not [
            row for row in loaded.ask(query, escaped=escaped, **values) if row.get("packets")
        ]


@pytest.mark.parametrize("query", [query for query in QUERIES.values() if query.panel], ids=str)
def test_every_column_that_a_panel_names_is_in_its_result(loaded: Loaded, query: Query):
    assert not query.panel.get("transformations"), (
        "they name columns too: hold them against the result here"
    )
    assert named_in(query.panel) <= loaded.columns(query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_an_experiment_without_anything_is_no_error(loaded: Loaded, query: Query):
    of_all_experiments = ("Whole experiment", "Calls a day and the budget")
    for row in loaded.ask(query, experiment="nobody_has_this"):
        assert query.kind in ("variable", "stat") or query.title in of_all_experiments, row


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_found_like_any_other(loaded: Loaded, name: str, escaped: bool):
    offered = [row["name"] for row in loaded.named("mt-experiment: sni")]
    [value] = [one for one in offered if one.replace("%22", '"') == name]
    totals = QUERIES["mt-experiment: Totals"]
    [every], [alone] = (
        loaded.ask(totals, escaped=escaped),
        loaded.ask(totals, escaped=escaped, sni=[value]),
    )
    [without] = loaded.ask(totals, escaped=escaped, sni_exclude=["(nothing)", value])

    assert alone["packets"] == len(tls_session(name))
    assert every["bytes"] == alone["bytes"] + without["bytes"]
    [story] = loaded.ask(QUERIES["mt-host: Totals"], escaped=escaped, who=name)
    assert (story["packets"], story["bytes"]) == (alone["packets"], alone["bytes"])


@pytest.mark.parametrize(
    ("capture", "values"),
    [("names.pcap", {"who": "www.netflix.com", "protocol": ["tls"]}), (AWKWARD, {})],
)
def test_the_commands_cut_exactly_the_packets_that_are_shown(
    loaded: Loaded, tmp_path: Path, capture: str, values: Mapping[str, Value]
):
    key = f"{FIRST}/{capture}"
    chosen = {"capture": [key.replace('"', "%22")], **values}
    shown = [
        (row["capture"], row["frame_number"])
        for row in loaded.named("mt-packets: Packets", **chosen)
    ]
    [cut] = loaded.named("mt-packets: Cut them out", **chosen)

    assert {name for name, _ in shown} == {key}
    for command in (cut["tshark"], cut["editcap"]):
        out = tmp_path / "out.pcapng"
        out.unlink(missing_ok=True)
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
        assert packets_of(out) == packets_of(loaded.lab.inbox / key, cut["display_filter"])
        assert len(packets_of(out)) == len(shown)


def packets_of(capture: Path, display_filter: str = "") -> list[str]:
    command = [
        "tshark",
        "-r",
        str(capture),
        "-Y",
        display_filter,
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
