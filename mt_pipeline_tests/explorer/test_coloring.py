"""Colours of the timeline: they differ, and a value keeps its own whatever else is in view."""

import re
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from mt_pipeline.explorer import coloring
from mt_pipeline.explorer.store import Store
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded, view_of

PAGE = Path(coloring.__file__).with_name("page")
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
SEEN = {
    "all colours": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""How people see linear RGB: Machado, Oliveira and Fernandes 2009, severity 1."""


def linear(*colors: str) -> np.ndarray:
    """Return linear RGB of `#rrggbb`."""
    values = np.array([list(bytes.fromhex(color[1:])) for color in colors]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def palette() -> list[str]:
    """Return the colours of the largest values, as the page has them."""
    [listed] = re.findall(r"const APART = \[(.*?)\];", (PAGE / "colors.js").read_text(), re.S)
    return re.findall("#[0-9a-f]{6}", listed)


@pytest.mark.parametrize("seen", SEEN)
def test_the_colours_of_the_largest_eight_differ_for_everybody(seen: str):
    """Regression: two were the same for who sees no red, and two of them olive for everybody."""
    cones = np.clip(linear(*palette()) @ np.array(SEEN[seen]).T, 0, 1) @ np.array(TO_CONES).T
    places = np.cbrt(cones) @ np.array(TO_OKLAB).T
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    assert len(places) == 8
    # 0.02 is what a trained eye just sees.
    assert distances[np.triu_indices(8, 1)].min() > (0.13 if seen == "all colours" else 0.1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_of_the_largest_eight_stand_out_from_the_page(theme: str):
    cards = re.findall("--card: (#[0-9a-f]{6});", (PAGE / "style.css").read_text())
    [card] = linear(cards[["light", "dark"].index(theme)]) @ [0.2126, 0.7152, 0.0722]
    for luminance in linear(*palette()) @ [0.2126, 0.7152, 0.0722]:
        darker, lighter = sorted((luminance, card))
        assert (lighter + 0.05) / (darker + 0.05) > 1.8


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
        best = set(every.values()) & set(range(8))  # the largest have those told apart best
        assert len(best) == min(len(every), 8)
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
