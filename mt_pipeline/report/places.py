"""Places of remote ends: folded into a list, numbered, and laid out on the map. How the map looks is `page.html` and `page.css`."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mt_pipeline.report.grouping import MOST_BARS
from mt_pipeline.report.results import Place, known

MOST_CIRCLES = 300
"""More of them hide each other; those with most bytes are drawn."""

LARGEST, SMALLEST = 9.0, 1.2
"""Radius in degrees of the place with most bytes, and the smallest one."""

_NORTH, _SOUTH = 84.0, -58.0  # where the map ends
# Height of a number in degrees: in a page's width, and on a phone, where the map is a third as wide. `page.css` has the same.
_LETTERS = {"all": 4.5, "few": 12.0}


@dataclass(frozen=True)
class Spot:
    """A place: a city, or a country where no city is known.

    Attributes:
        name: city and country.
        longitude: degrees; None if nobody knows where it is.
        latitude: degrees.
        bytes: of packets with a remote end there.
    """

    name: str
    longitude: float | None
    latitude: float | None
    bytes: int


@dataclass(frozen=True)
class Circle:
    """A place on the map, in degrees; y is minus the latitude.

    Attributes:
        spot: what it shows.
        x: of its centre.
        y: of its centre.
        radius: its area is as large as its bytes are many.
        number: its place in the list beside the map; None if it is not on it.
        label: where there is room for the number: `few` everywhere, `all` in a page's width only; None nowhere.
    """

    spot: Spot
    x: float
    y: float
    radius: float
    number: int | None = None
    label: str | None = None


def spots(rows: Iterable[Place], middles: Mapping[str, tuple[float, float]]) -> list[Spot]:
    """Add up by name, the largest first; what has none is left out.

    Args:
        rows: the largest first.
        middles: longitude and latitude of countries, for those rows that have none.
    """
    groups = defaultdict[str, list[Place]](list)
    for row in rows:
        if name := name_of(row):
            groups[name].append(row)
    found = []
    for name, group in groups.items():
        said = ((row.longitude, row.latitude) for row in group if row.longitude is not None)
        longitude, latitude = next(said, middles.get(group[0].country or "", (None, None)))
        found.append(Spot(name, longitude, latitude, sum(row.bytes for row in group)))
    return sorted(found, key=lambda spot: (-spot.bytes, spot.name))


def name_of(place: Place) -> str | None:
    """Name the city and its country, or the country alone."""
    country, city = known(place.country), known(place.city)
    return f"{city}, {country}" if city and country else country


def circles(places: Sequence[Spot]) -> list[Circle]:
    """Lay places out, the largest first, so that smaller ones lie on top; numbers are those of the list, and never lie on each other."""
    most = max((spot.bytes for spot in places), default=0) or 1
    taken: dict[str, list[tuple[float, float]]] = {width: [] for width in _LETTERS}
    drawn = []
    for number, spot in enumerate(places[:MOST_CIRCLES], 1):
        if spot.longitude is None or spot.latitude is None:
            continue
        x, y = spot.longitude, -min(max(spot.latitude, _SOUTH), _NORTH)
        listed = number if number <= MOST_BARS else None
        label = None
        if listed:
            room = [
                width
                for width, letters in _LETTERS.items()
                if _is_free(x, y, letters, taken[width])
            ]
            for width in room:
                taken[width].append((x, y))
            label = "few" if "few" in room else "all" if "all" in room else None
        drawn.append(
            Circle(spot, x, y, max(SMALLEST, LARGEST * math.sqrt(spot.bytes / most)), listed, label)
        )
    return drawn


def _is_free(x: float, y: float, letters: float, taken: Iterable[tuple[float, float]]) -> bool:
    """Say whether a number of two digits has room beside the others."""
    return all(max(abs(x - left), abs(y - up)) > 1.4 * letters for left, up in taken)
