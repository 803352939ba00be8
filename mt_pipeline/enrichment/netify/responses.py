"""The facts in a body of the Netify Data Feeds API v2. Nothing here sends a request.

The rules are those of MT_ProcessPKTs. A field that is missing, null or of a wrong type is ignored.
"""

import json
import math

from mt_pipeline.enrichment.models import Facts, Kind

LONGEST_TEXT = 256
"""Longer text is neither a tag nor a place."""

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None


class BrokenBody(ValueError):
    """The body is not valid; the message has the reason."""


def facts_of(kind: Kind, body: bytes) -> Facts | None:
    """Return the facts in the body of a response with status 200.

    Returns:
        The facts, perhaps all None; None if the data of the body are null.

    Raises:
        BrokenBody: it is not JSON, or not an envelope with data.
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
    if isinstance(listed, list) and len(listed) == 1:  # several are ambiguous
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
        reverse_name=_text(_at(data, "rdns", "hostname")),
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
    # JSON may have half a surrogate pair, which UTF-8 files cannot.
    return value.encode("utf-8", "replace").decode().strip() or None


def _tag(value: Json) -> str | None:
    tag = _text(_at(value, "tag"))
    # Older answers have netify.twitter, newer ones twitter, for the same application.
    return None if tag is None else tag.removeprefix("netify.") or None


def _degrees(value: Json, *, limit: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        degrees = float(value)  # the API sends text
    except (ValueError, OverflowError):
        return None
    return degrees if math.isfinite(degrees) and abs(degrees) <= limit else None
