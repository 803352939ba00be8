"""Colours of the timeline: they differ, and a value keeps its own whatever else is in view."""

from urllib.parse import urlencode

from mt_pipeline.explorer.store import Store
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded, view_of


def shown(store: Store, *query: tuple[str, str]) -> dict[str, int]:
    """Return the colours of the values of the timeline."""
    series = view_of(store, urlencode(query))["timeline"]["series"]
    found = {one["value"]: one["color"] for one in series if one["kind"] == "value"}
    assert len(set(found.values())) == len(found)
    return found


def test_a_value_has_one_colour_in_all_views_of_an_experiment(loaded: Loaded):
    store = loaded.store("parquet")
    for dimension in ("name", "protocol", "country"):
        every = shown(store, ("e", FIRST), ("by", dimension))
        assert len(every) > 2
        assert set(every.values()) <= set(range(11))  # the largest have those told apart best
        for value, color in every.items():
            alone = shown(store, ("e", FIRST), ("by", dimension), (dimension, f"is:{value}"))
            assert alone == {value: color}
        for measure in ("packets", "conversations"):
            found = shown(store, ("e", FIRST), ("by", dimension), ("measure", measure))
            assert {value: found[value] for value in found.keys() & every} == {
                value: every[value] for value in found.keys() & every
            }


def test_the_largest_value_has_the_same_colour_in_another_experiment(loaded: Loaded):
    store = loaded.store("parquet")
    first, second = (shown(store, ("e", name), ("by", "transport")) for name in (FIRST, SECOND))
    assert first["TCP"] == second["TCP"]
