"""The map below the circles of a page: land as one SVG path, and where countries lie. Both are from the wheel of countryinfo; nothing is fetched.

The map is a plate carrée: a degree is a unit, longitude to the right and latitude up, so a place is drawn at its coordinates.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

from countryinfo import CountryInfo

from mt_pipeline.enrichment.offline.countries import COUNTRIES

_STEPS = 2  # to a degree: as fine as it is seen in a page's width, and a quarter of the size


@cache
def land() -> str:
    """Draw all land that has an outline, as the `d` of an SVG path; y is minus the latitude."""
    rings = (
        ring for country in CountryInfo.all().values() for ring in _rings(country.get("geoJSON"))
    )
    return "".join(path for ring in rings if (path := _path(ring)))


@cache
def middles() -> dict[str, tuple[float, float]]:
    """Return longitude and latitude of the middle of countries, by their names in `enrichment/offline/countries.py`."""
    by_code = {info.get("ISO", {}).get("alpha2"): info for info in CountryInfo.all().values()}
    found = {}
    for code, (_, name) in COUNTRIES.items():
        spot = (
            (by_code[code].get("latlng") or by_code[code].get("capital_latlng"))
            if code in by_code
            else None
        )
        if spot and all(isinstance(degrees, (int, float)) for degrees in spot):
            found[name] = (float(spot[1]), float(spot[0]))
    return found


def _rings(geojson: object) -> Iterator[Sequence[Sequence[float]]]:
    """Yield the outer rings of the polygons of a country."""
    for feature in geojson.get("features", []) if isinstance(geojson, dict) else []:
        shape = feature["geometry"]
        for polygon in (
            [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
        ):
            yield polygon[0]


def _path(ring: Iterable[Sequence[float]]) -> str:
    """Draw a ring in half degrees; what is smaller than that vanishes."""
    points: list[tuple[int, int]] = []
    for longitude, latitude, *_ in ring:
        point = round(longitude * _STEPS), -round(latitude * _STEPS)
        if not points or points[-1] != point:
            points.append(point)
    if len(points) < 4:
        return ""
    steps = " ".join(
        f"{(x - left) / _STEPS:g} {(y - up) / _STEPS:g}" for (left, up), (x, y) in pairwise(points)
    )
    return f"M{points[0][0] / _STEPS:g} {points[0][1] / _STEPS:g}l{steps}z"
