"""Where the remote ends are, for a map."""

from collections.abc import Mapping, Sequence

import numpy as np

from mt_pipeline.explorer.asked import Seen
from mt_pipeline.explorer.columns import distinct
from mt_pipeline.explorer.selection import Selection
from mt_pipeline.report import world_map

_COLUMNS = ("geo_lat", "geo_lon", "geo_city", "geo_country")
_MOST = 500

Place = tuple[float | None, float | None, str | None, str | None]
Sums = tuple[int, int, int]

VIEW_BOX = "-180 -90 360 180"
"""The world in degrees; y is minus the latitude."""


def places(seen: Seen) -> Sequence[Mapping[str, object]]:
    """Return bytes, packets and conversations by place, the largest first.

    What has no place, or is not among the first, is the last one, without a place.
    """
    found = dict[Place, Sums]()
    for selection in seen.side.selections:
        for place, sums in _sums(selection):
            drawn = _drawn(place)
            found[drawn] = _added(found.get(drawn, (0, 0, 0)), sums)
    measure = ("bytes", "packets", "conversations").index(seen.view.measure)
    ordered = sorted(found.items(), key=lambda item: -item[1][measure])
    known = [item for item in ordered if item[0][0] is not None]
    rest = known[_MOST:] + [item for item in ordered if item[0][0] is None]
    answer = [_place(place, sums) for place, sums in known[:_MOST]]
    if rest:
        total = (0, 0, 0)
        for _, sums in rest:
            total = _added(total, sums)
        answer.append(_place((None, None, None, None), total))
    return answer


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


def _place(place: Place, sums: Sums) -> Mapping[str, object]:
    names = ("lat", "lon", "city", "country", "bytes", "packets", "conversations")
    return dict(zip(names, (*place, *sums), strict=True))
