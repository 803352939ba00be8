"""Places of remote ends: a numbered list, and circles on the map.

`page.html` and `page.css` decide how the map looks.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mt_pipeline.report.grouping import MOST_BARS
from mt_pipeline.report.results import Place, known

MOST_CIRCLES = 300
"""Circles on the map, those with most bytes. More would hide each other."""

LARGEST, SMALLEST = 9.0, 1.2
"""Radius in degrees of the place with most bytes, and the smallest radius."""

_NORTH, _SOUTH = 84.0, -58.0  # edges of the map
# Height of a number in degrees, as in `page.css`: in the page's full width, and on a phone, where
# the map is a third as wide.
_LETTERS = {"all": 4.5, "few": 12.0}


@dataclass(frozen=True)
class Spot:
    """A place: a city, or a country where no city is known.

    Attributes:
        name: city and country.
        longitude: degrees; None if it is not known.
        latitude: degrees; None if it is not known.
        bytes: bytes of packets with a remote end in this place.
    """

    name: str
    longitude: float | None
    latitude: float | None
    bytes: int


@dataclass(frozen=True)
class Circle:
    """A place on the map, in degrees; y is minus the latitude.

    Attributes:
        spot: the place.
        x: x of the centre.
        y: y of the centre.
        radius: radius; the area is proportional to the bytes.
        number: its number in the list; None if it is not in the list.
        label: where the number fits: `few` everywhere, `all` in the page's full width only, None
            nowhere.
    """

    spot: Spot
    x: float
    y: float
    radius: float
    number: int | None = None
    label: str | None = None


def spots(rows: Iterable[Place], middles: Mapping[str, tuple[float, float]]) -> list[Spot]:
    """Add up places by name, the largest first, without those that have no name.

    Args:
        rows: the largest first.
        middles: longitude and latitude of countries, for rows without.
    """
    groups = defaultdict[str, list[Place]](list)
    for row in rows:
        if name := name_of(row):
            groups[name].append(row)
    result = []
    for name, group in groups.items():
        degrees = ((row.longitude, row.latitude) for row in group if row.longitude is not None)
        longitude, latitude = next(degrees, middles.get(group[0].country or "", (None, None)))
        result.append(Spot(name, longitude, latitude, sum(row.bytes for row in group)))
    return sorted(result, key=lambda spot: (-spot.bytes, spot.name))


def name_of(place: Place) -> str | None:
    """Return the city and its country, or the country alone."""
    country, city = known(place.country), known(place.city)
    return f"{city}, {country}" if city and country else country


def circles(places: Sequence[Spot]) -> list[Circle]:
    """Return the circles on the map, the largest first, so that smaller ones are on top.

    Their numbers are those of the list, and never overlap.
    """
    most = max((spot.bytes for spot in places), default=0) or 1
    taken: dict[str, list[tuple[float, float]]] = {width: [] for width in _LETTERS}
    result = []
    for number, spot in enumerate(places[:MOST_CIRCLES], 1):
        if spot.longitude is None or spot.latitude is None:
            continue
        x, y = spot.longitude, -min(max(spot.latitude, _SOUTH), _NORTH)
        radius = max(SMALLEST, LARGEST * math.sqrt(spot.bytes / most))
        listed = number if number <= MOST_BARS else None
        label = _label(x, y, taken) if listed else None
        result.append(Circle(spot, x, y, radius, listed, label))
    return result


def _label(x: float, y: float, taken: dict[str, list[tuple[float, float]]]) -> str | None:
    """Reserve room for the number of a circle, in each width of the map where it is free."""
    widths = [width for width, letters in _LETTERS.items() if _is_free(x, y, letters, taken[width])]
    for width in widths:
        taken[width].append((x, y))
    return "few" if "few" in widths else "all" if "all" in widths else None


def _is_free(x: float, y: float, letters: float, taken: Iterable[tuple[float, float]]) -> bool:
    """Return whether a number of two digits overlaps none of the others."""
    return all(max(abs(x - left), abs(y - up)) > 1.4 * letters for left, up in taken)
