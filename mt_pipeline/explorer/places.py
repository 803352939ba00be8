"""Where the remote ends are, for a map."""

from collections.abc import Mapping, Sequence

import numpy as np

from mt_pipeline.explorer.asked import Seen, Side
from mt_pipeline.explorer.columns import distinct
from mt_pipeline.explorer.selection import Selection
from mt_pipeline.report import world_map

_COLUMNS = ("geo_lat", "geo_lon", "geo_city", "geo_country")
_MOST = 500

Place = tuple[float | None, float | None, str | None, str | None]
Sums = tuple[int, int, int]
_NAMES = ("bytes", "packets", "conversations")
_NOTHING: Sums = (0, 0, 0)

VIEW_BOX = "-180 -90 360 180"
"""The world in degrees; y is minus the latitude."""


def places(seen: Seen) -> Sequence[Mapping[str, object]]:
    """Return bytes, packets and conversations by place, the largest first.

    What has no place, or is not among the first, is the last one, without a place. Of a comparison
    each has the sums of the other side, too.
    """
    sides = [_by_place(side) for side in seen.sides]
    measure = _NAMES.index(seen.view.measure)

    def of(place: Place) -> list[Sums]:
        return [side.get(place, _NOTHING) for side in sides]

    every = dict.fromkeys(place for side in sides for place in side)
    ordered = sorted(every, key=lambda place: -max(sums[measure] for sums in of(place)))
    known = [place for place in ordered if place[0] is not None]
    rest = known[_MOST:] + [place for place in ordered if place[0] is None]
    answer = [_place(place, of(place)) for place in known[:_MOST]]
    if rest:
        totals = [_NOTHING] * len(sides)
        for place in rest:
            totals = [_added(*both) for both in zip(totals, of(place), strict=True)]
        answer.append(_place((None, None, None, None), totals))
    return answer


def _by_place(side: Side) -> Mapping[Place, Sums]:
    found = dict[Place, Sums]()
    for selection in side.selections:
        for place, sums in _sums(selection):
            drawn = _drawn(place)
            found[drawn] = _added(found.get(drawn, _NOTHING), sums)
    return found


def world() -> Mapping[str, str]:
    """Return the outlines of all land."""
    return {"path": world_map.land(), "view_box": VIEW_BOX}


def _sums(selection: Selection) -> Sequence[tuple[Place, Sums]]:
    columns = [selection.frame.columns[name].at(selection.conversations) for name in _COLUMNS]
    firsts, of = distinct(columns)
    sums = selection.by_codes(of, len(firsts))
    values = [
        column.values.take(column.codes[firsts].astype(np.int64)).to_pylist() for column in columns
    ]
    numbers = (sums.bytes, sums.packets, sums.conversations)
    return [
        (place, (int(length), int(packets), int(conversations)))
        for place, length, packets, conversations in zip(
            zip(*values, strict=True), *numbers, strict=True
        )
    ]


def _drawn(place: Place) -> Place:
    """Return the place with the middle of its country, if nothing closer is known."""
    latitude, _, city, country = place
    if latitude is not None or country not in world_map.middles():
        return place
    longitude, latitude = world_map.middles()[country]
    return latitude, longitude, city, country


def _added(first: Sums, second: Sums) -> Sums:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


def _place(place: Place, sides: Sequence[Sums]) -> Mapping[str, object]:
    first, *others = (dict(zip(_NAMES, sums, strict=True)) for sums in sides)
    named = dict(zip(("lat", "lon", "city", "country"), place, strict=True))
    return {**named, **first, **({"vs": others[0]} if others else {})}
