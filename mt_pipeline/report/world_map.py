"""The map of a page: land as an SVG path, and the middles of countries.

Both come from the package countryinfo, without network. The projection is a plate carrée: a unit is
a degree, so coordinates of a place are those of its circle.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

from countryinfo import CountryInfo

from mt_pipeline.enrichment.offline.countries import COUNTRIES

_STEPS = 2  # to a degree: finer steps cannot be seen, and would make the path four times as long


@cache
def land() -> str:
    """Return the outlines of all land as the `d` of an SVG path; y is minus the latitude."""
    rings = (
        ring for country in CountryInfo.all().values() for ring in _rings(country.get("geoJSON"))
    )
    return "".join(path for ring in rings if (path := _path(ring)))


@cache
def middles() -> dict[str, tuple[float, float]]:
    """Return longitude and latitude of the middle of each country, in degrees.

    Names are those of `enrichment/offline/countries.py`.
    """
    result: dict[str, tuple[float, float]] = {}
    for info in CountryInfo.all().values():
        _, name = COUNTRIES.get(info.get("ISO", {}).get("alpha2"), ("", ""))
        spot = info.get("latlng") or info.get("capital_latlng")
        # Parts of a country have its code, too: the first one with a place is the country.
        if name and spot and all(isinstance(degrees, (int, float)) for degrees in spot):
            result.setdefault(name, (float(spot[1]), float(spot[0])))
    return result


def _rings(geojson: object) -> Iterator[Sequence[Sequence[float]]]:
    """Yield the outer rings of the polygons of a country."""
    for feature in geojson.get("features", []) if isinstance(geojson, dict) else []:
        shape = feature["geometry"]
        coordinates = shape["coordinates"]
        for polygon in [coordinates] if shape["type"] == "Polygon" else coordinates:
            yield polygon[0]


def _path(ring: Iterable[Sequence[float]]) -> str:
    """Draw a ring in half degrees; smaller details vanish."""
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
