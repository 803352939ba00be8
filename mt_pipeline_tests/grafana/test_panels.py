"""Every panel is correct: `reference.py` and `expected.py` compute its result without QuestDB."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from functools import partial

import duckdb
import pytest

from mt_pipeline_tests.building.traffic import CLIENT, CLIENT6, CLIENT_MAC, SERVER, SERVER6
from mt_pipeline_tests.grafana.choices import Choice, Chosen
from mt_pipeline_tests.grafana.expected import ELSEWHERE, PANELS
from mt_pipeline_tests.grafana.loaded import (
    AWKWARD,
    BROKEN,
    DEVICES,
    FIRST,
    HOSTILE,
    QUERIES,
    SECOND,
    Loaded,
)
from mt_pipeline_tests.grafana.reference import Reference

ONE, OTHER = f"{FIRST}/names.pcap", f"{FIRST}/{AWKWARD}"
NOBODY: Chosen = {"experiment": "nobody_has_this"}
CHOICES: Mapping[str, tuple[Chosen, ...]] = {
    "mt-experiment": (
        NOBODY,
        {},
        *(
            {"experiment": SECOND},
            {"capture": [ONE]},
            {"capture": [ONE, OTHER]},
            {"capture": HOSTILE},
        ),
        *({"direction": ["outside"]}, {"direction": ["inside", "transit", "none"]}),
        *({"app": ["netflix"]}, {"app": ["netflix", "(none)"]}, {"app": HOSTILE}),
        *(
            {"app_exclude": ["(nothing)", "netflix"]},
            {"app_exclude": ["(nothing)", "(none)", *HOSTILE]},
        ),
        *({"sni": ["www.netflix.com"]}, {"sni": HOSTILE}),
        *(
            {"sni_exclude": ["(nothing)", "www.netflix.com"]},
            {"sni_exclude": ["(nothing)", "(none)", *HOSTILE]},
        ),
        {
            "capture": [ONE],
            "direction": ["outside"],
            "app_exclude": ["(nothing)", "(none)"],
            "sni_exclude": ["(nothing)", *HOSTILE],
        },
        *({"top": "5", "step": "5s"}, {"from": 1.3, "to": 1.3}),
    ),
    "mt-host": (
        NOBODY,
        *(
            {"who": who}
            for who in (
                CLIENT,
                SERVER,
                CLIENT6,
                SERVER6,
                CLIENT_MAC,
                "www.netflix.com",
                "netflix.com",
                "netflix",
                "",
            )
        ),
        *({"who": who} for who in (*DEVICES.values(), *HOSTILE)),
        {"who": HOSTILE[0], "experiment": "*"},
        *(
            {"who": CLIENT, **more}
            for more in (
                {"experiment": [SECOND]},
                {"experiment": [FIRST, SECOND, *HOSTILE]},
                {"top": "5"},
                {"step": "5s"},
            )
        ),
        {"who": CLIENT, "from": 1.3, "to": 1.3},
    ),
    "mt-compare": (
        NOBODY,
        {},
        {"experiment": [FIRST, SECOND]},
        {"experiment": [SECOND, *HOSTILE]},
        {"experiment": [FIRST, SECOND], "step": "5s"},
    ),
    "mt-packets": (
        NOBODY,
        *(
            {"limit": "5000"},
            {"capture": [ONE]},
            {"capture": [ONE, OTHER]},
            {"capture": HOSTILE},
            {"protocol": ["tls"]},
            {"protocol": ["dns", "quic"]},
        ),
        *(
            {"who": who}
            for who in (SERVER, SERVER6, "www.netflix.com", "netflix", *DEVICES.values(), *HOSTILE)
        ),
        *(
            {"protocol": HOSTILE},
            {"stream": "3"},
            {"capture": [ONE], "stream": "1", "protocol": ["tls"]},
            {"from": 1.3, "to": 1.3},
        ),
    ),
    "mt-pipeline": (
        NOBODY,
        {},
        {"experiment": [FIRST, SECOND, BROKEN]},
        {"experiment": [SECOND, *HOSTILE]},
        {"step": "1h", "top": "5"},
    ),
}

Choices = Mapping[str, Sequence[tuple[Choice, duckdb.DuckDBPyConnection]]]
"""Of each dashboard: what is chosen, and a database of that."""

OFFERED = ("capture", "app", "app_exclude", "sni", "sni_exclude")
"""Variables whose lists have %22 for a quote."""


@pytest.fixture(scope="module")
def choices(loaded: Loaded) -> Iterator[Choices]:
    reference = Reference(loaded.lab, loaded.ran, loaded.keys, [f"{BROKEN}.pcap"])
    with ExitStack() as opened:
        yield {
            dashboard: [
                (choice, opened.enter_context(reference.of(choice)))
                for choice in map(partial(Choice, dashboard, loaded.span(dashboard)), several)
            ]
            for dashboard, several in CHOICES.items()
        }


def plain(rows: Iterable[Iterable[object]]) -> list[tuple[str, ...]]:
    """Say rows so that they can be compared whatever their types and order are."""
    return sorted(tuple(_plain(value) for value in row) for row in rows)


def _plain(value: object) -> str:
    return f"{float(value):.6g}" if isinstance(value, float | Decimal) else str(value)


def test_every_panel_is_held_by_a_test():
    assert {str(query) for query in QUERIES.values() if query.panel} == {*PANELS, *ELSEWHERE}


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_shows_what_was_captured(loaded: Loaded, choices: Choices, title: str):
    query, found = QUERIES[title], 0
    for choice, chosen in choices[query.dashboard]:
        offered = {
            name: [one.replace('"', "%22") for one in choice.values[name]]
            for name in OFFERED
            if name in choice.values
        }
        shown = loaded.ask(query, span=choice.span, **{**choice.values, **offered})
        asked = chosen.execute(
            PANELS[title].format(start=choice.span[0], end=choice.span[1], **choice.values)
        )
        columns, rows = [column[0] for column in asked.description], asked.fetchall()
        assert plain([row[name] for name in columns] for row in shown) == plain(rows), choice.values
        found += len(rows)
    assert found, "nothing was chosen that this panel shows"
