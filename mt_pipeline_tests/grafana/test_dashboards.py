"""The files of the dashboards: faults that Grafana does not report, but shows wrong."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from mt_pipeline.defs.charts import _dashboard
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS
from mt_pipeline_tests.grafana.plugin import FILES, Json, panels, queries, read

UIDS = {"mt-compare", "mt-experiment", "mt-host", "mt-packets", "mt-pipeline"}
CORE = {"barchart", "geomap", "piechart", "row", "stat", "table", "timeseries"}
SOURCE = {"type": "questdb-questdb-datasource", "uid": "${datasource}"}
BUILT_IN = {"__url_time_range", "__data", "__field"}
NEWER = {
    "panels.options.enablePagination",
    "panels.options.sort",
    "panels.panels.options.sort",
    "templating.list.definition",
}
"""What Grafana 12.4 writes and the published model, of 11.6, does not know."""

ALIASES = {
    "egress",
    "ingress",
    "f",
    "most",
    "kept",
    "total",
    "begun",
    "begin",
    "seen",
    "cut",
    "files",
    "shown",
    "gaps",
    "gap",
    "latest",
    "place",
    "bucket",
}
WORDS = {
    *"select from where and or not in is null as on by group order limit with case when".split(),
    *"then else end join left union all desc over".split(),
    *"sum min max count distinct count_distinct coalesce replace timestamp_floor cast".split(),
    *"datediff dateadd to_str greatest lag row_number".split(),
    *"string_agg nullif last arg_max concat cross long_sequence x rows latest partition".split(),
    *"timestamp long int varchar".split(),
}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> Json:
    return read(request.param)


def with_rows(dashboard: Json) -> list[Json]:
    """Return all panels and rows."""
    return [*panels(dashboard), *(panel for panel in dashboard["panels"] if panel["type"] == "row")]


def urls(dashboard: Json) -> Iterator[str]:
    for panel in panels(dashboard):
        for override in panel["fieldConfig"]["overrides"]:
            for setting in override["properties"]:
                if setting["id"] == "links":
                    yield from (link["url"] for link in setting["value"])


def lost(written: object, parsed: object, path: str = "") -> Iterator[str]:
    """Yield the paths of values that are lost or changed by reading and writing."""
    if isinstance(written, dict) and isinstance(parsed, dict):
        for key, value in written.items():
            yield from (
                lost(value, parsed[key], f"{path}.{key}")
                if key in parsed
                else [f"{path}.{key}"]
                if value is not None
                else []
            )
    elif isinstance(written, list) and isinstance(parsed, list) and len(written) == len(parsed):
        for before, after in zip(written, parsed, strict=True):
            yield from lost(before, after, path)
    elif written != parsed:
        yield path


def test_there_are_five_and_each_is_named_by_its_uid():
    assert {path.stem for path in FILES} == UIDS == {read(path)["uid"] for path in FILES}
    assert len({read(path)["title"] for path in FILES}) == len(UIDS)


def test_the_link_of_a_capture_leads_to_a_dashboard_and_a_variable_of_it():
    link = urlsplit(_dashboard("http://grafana", "kitchen", datetime.now(UTC), datetime.now(UTC)))
    given = dict(parse_qsl(link.query))

    known = read(next(path for path in FILES if path.stem == link.path.removeprefix("/d/")))
    assert {name.removeprefix("var-") for name in given if name.startswith("var-")} <= {
        variable["name"] for variable in known["templating"]["list"]
    }
    assert {"from", "to"} <= given.keys()


def test_files_are_as_grafana_exports_them(dashboard: Json):
    path = next(path for path in FILES if path.stem == dashboard["uid"])

    assert path.read_text() == json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
    assert dashboard["id"] is None
    assert dashboard["description"]


def test_no_key_is_misspelt(dashboard: Json):
    register_default_plugins()
    parsed = json.loads(JSONEncoder().encode(Dashboard.from_json(dict(dashboard))))

    assert {place.lstrip(".") for place in lost(dashboard, parsed)} <= NEWER


def test_ids_are_unique_and_only_core_panels_are_used(dashboard: Json):
    every = with_rows(dashboard)

    assert len({panel["id"] for panel in every}) == len(every)
    assert {panel["type"] for panel in every} <= CORE
    titles = [panel["title"] for panel in panels(dashboard)]
    assert len(set(titles)) == len(titles)


def test_panels_lie_within_24_columns_and_do_not_overlap(dashboard: Json):
    taken: set[tuple[int, int]] = set()
    for panel in with_rows(dashboard):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_is_in_which_unit_and_what_if_there_is_nothing(dashboard: Json):
    for panel in panels(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


def test_everything_asks_the_data_source_that_is_chosen(dashboard: Json):
    asked = [
        item["datasource"] for panel in panels(dashboard) for item in (panel, *panel["targets"])
    ]
    asked += [
        variable["datasource"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]

    assert all(source == SOURCE for source in asked)
    [chosen] = [
        variable for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"
    ]
    assert (chosen["query"], chosen["current"]["value"]) == (SOURCE["type"], "questdb")


def test_every_variable_is_defined_and_used_and_all_of_them_says_so(dashboard: Json):
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    used = {name.split(".")[0] for name in re.findall(r"\$\{([\w.]+)(?=[:}])", text)} - BUILT_IN

    assert used <= variables.keys()
    assert variables.keys() <= used
    for name, variable in variables.items():
        if variable.get("multi"):
            assert variable.get("includeAll") or variable["query"].startswith(
                "SELECT '(nothing)'"
            ), f"{name} may be empty"
        if variable.get("includeAll"):
            assert variable["allValue"] == "'*'"


def test_values_reach_queries_as_quoted_text_only():
    for query in queries():
        assert set(re.findall(r"\$\{?\w+:?\w*", query.sql)) <= {
            *(found for found in re.findall(r"\$\{\w+:sqlstring", query.sql)),
            *("$__timeFilter", "$__fromTime", "$__toTime"),
        }, str(query)


def test_every_link_leads_to_a_dashboard_of_ours_with_a_time_range(dashboard: Json):
    defined = {
        read(path)["uid"]: {variable["name"] for variable in read(path)["templating"]["list"]}
        for path in FILES
    }
    for url in urls(dashboard):
        path, _, given = url.partition("?")
        assert path.removeprefix("/d/") in defined
        assert "${__url_time_range}" in given or ("&from=" in given and "&to=" in given), url
        assert (
            set(re.findall(r"var-(\w+)=", given))
            | set(re.findall(r"\$\{(\w+):queryparam\}", given))
            <= defined[path.removeprefix("/d/")]
        )
    for link in dashboard["links"]:
        path, _, given = link["url"].partition("?")
        assert path.removeprefix("/d/") in defined
        assert link["keepTime"] or ("from=" in given and "to=" in given), link["url"]
        assert (
            set(re.findall(r"\$\{(\w+):queryparam\}", given)) <= defined[path.removeprefix("/d/")]
        )
    assert {
        link["url"].partition("?")[0].removeprefix("/d/") for link in dashboard["links"]
    } == UIDS - {dashboard["uid"]}


def test_every_column_asked_for_exists():
    tables = {table.name: table.types.keys() for table in (PACKETS, FLOWS, CAPTURES)}
    for query in queries():
        plain = re.sub(r"'[^']*'|\$\{[^}]*\}|\$__\w+|::\w+", " ", query.sql)
        columns = {
            name
            for table, names in tables.items()
            if re.search(rf"\bFROM {table}\b", plain)
            for name in names
        }
        own = (
            set(re.findall(r"\bAS \"?(\w+)", plain))
            | set(re.findall(r"(\w+) AS \(", plain))
            | {"FROM"}
        )
        words = {word for word in re.findall(r"[A-Za-z_]\w*", plain) if word.lower() not in WORDS}
        assert words <= columns | own | tables.keys() | ALIASES, str(query)


def test_packets_are_asked_only_where_flows_cannot_answer():
    asking = {
        str(query)
        for query in queries()
        if "FROM captured_packets" in query.sql and query.dashboard != "mt-packets"
    }

    assert all(
        name.startswith("mt-experiment: Egress ")
        or name in ("mt-experiment: Frame lengths", "mt-experiment: Inter-arrival times")
        for name in asking
    )


def test_every_list_has_an_end():
    for query in queries():
        if query.kind == "table" and query.title not in ("Whole experiment", "Cut them out"):
            assert re.search(r"LIMIT (\d+|\$\{(top|limit):sqlstring\}::INT)\s*$", query.sql), str(
                query
            )


def test_the_folder_holds_nothing_else():
    assert all(Path(path).suffix == ".json" for path in FILES[0].parent.iterdir())
