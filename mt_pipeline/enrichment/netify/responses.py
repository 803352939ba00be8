"""What a body of the Netify Data Feeds API v2 says: facts of an address or of a name. Nothing here talks to a server.

The rules are those of MT_ProcessPKTs. Any field may be missing, null or of a wrong type: then it says nothing.
"""

import json
import math

from mt_pipeline.enrichment.models import Facts, Kind

LONGEST_TEXT = 256
"""Longer text is no tag and no place."""

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None


class BrokenBody(ValueError):
    """The body is not what the API sends; the message says how."""


def facts_of(kind: Kind, body: bytes) -> Facts | None:
    """Read the facts out of the body of a 200.

    Returns:
        The facts, perhaps all None; or None if the body says in so many words that there is no data.

    Raises:
        BrokenBody: no JSON, or no envelope with data.
    """
    try:
        envelope: Json = json.loads(body)
    except (ValueError, RecursionError):
        raise BrokenBody("the body is not JSON") from None
    if not isinstance(envelope, dict) or "data" not in envelope:
        raise BrokenBody("the body has no data")
    data = envelope["data"]
    if data is None:
        return None
    if not isinstance(data, dict):
        raise BrokenBody("the data of the body are not an object")
    return _address(data) if kind == "address" else _name(data)


def _address(data: Json) -> Facts:
    applications = [_at(data, "rdns", "application"), _at(data, "tls_certificate", "application")]
    listed = _at(data, "application_list")
    if isinstance(listed, list) and len(listed) == 1:  # of several, nobody knows which one it was
        applications.append(listed[0])
    place = _at(data, "geolocation")
    return Facts(
        app_tag=next(filter(None, (_tag(application) for application in applications)), None),
        app_category_tag=next(
            filter(None, (_tag(_at(application, "category")) for application in applications)), None
        ),
        geo_continent=_text(_at(place, "continent", "label")),
        geo_country=_text(_at(place, "country", "label")),
        geo_city=_text(_at(place, "city", "label")),
        geo_lon=_degrees(_at(place, "coordinates", "longitude"), limit=180),
        geo_lat=_degrees(_at(place, "coordinates", "latitude"), limit=90),
    )


def _name(data: Json) -> Facts:
    return Facts(
        app_tag=_tag(_at(data, "application")),
        app_category_tag=_tag(_at(data, "application", "category")),
        domain_tag=_tag(_at(data, "domain", "category")),
    )


def _at(value: Json, *path: str) -> Json:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Json) -> str | None:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        return None
    # JSON can say half a surrogate pair, which no file of ours can hold.
    return value.encode("utf-8", "replace").decode().strip() or None


def _tag(value: Json) -> str | None:
    tag = _text(_at(value, "tag"))
    # Older answers say netify.twitter, newer ones twitter: one application, one tag.
    return None if tag is None else tag.removeprefix("netify.") or None


def _degrees(value: Json, *, limit: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        degrees = float(value)  # the API sends text
    except (ValueError, OverflowError):
        return None
    return degrees if math.isfinite(degrees) and abs(degrees) <= limit else None
