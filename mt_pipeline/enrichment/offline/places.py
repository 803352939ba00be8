"""The places of addresses: from a city or country file of the user, or else from the registries.

An MMDB has the place where an address is used, as far as its maker knows. The data of the
registries have the country where the holder of an address is registered. `countries.py` has the
names of countries and continents.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import iptocc

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.offline.countries import COUNTRIES
from mt_pipeline.enrichment.offline.mmdb_file import MmdbFile

_CURE = (
    "name a city or country file in MT_OFFLINE_CITY_MMDB, "
    "such as DB-IP City Lite or GeoLite2 City, or unset it"
)


class Places(Protocol):
    """A source of places."""

    def look_up(self, addresses: Sequence[str]) -> list[Facts | None]:
        """Return the place of each address."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Allocations:
    """The country to which a registry allocated an address.

    Source: AFRINIC, APNIC, ARIN, LACNIC and RIPE NCC, as in the package iptocc.
    """

    def look_up(self, addresses: Sequence[str]) -> list[Facts | None]:
        """Return the country of each address."""
        return [
            None if code is None else _country_facts(code)
            for code in iptocc.country_code(addresses)
        ]

    def close(self) -> None:
        """Do nothing: no file is open."""


class CityFile(MmdbFile[Facts]):
    """An MMDB in the City or Country layout of MaxMind, or the flat one of ip-location-db."""

    def __init__(self, path: Path) -> None:
        """Open the file and check that it has countries.

        Raises:
            ProviderUnusable: the file is missing, is not an MMDB, is damaged, or has no countries.
        """
        super().__init__(
            path,
            facts=_facts,
            has_needed=lambda facts: facts.geo_country is not None,
            needed="countries",
            cure=_CURE,
        )


@lru_cache(maxsize=1000)
def _country_facts(code: str) -> Facts | None:
    if code == "EU":  # allocated to no particular country
        return Facts(geo_continent="Europe")
    if code not in COUNTRIES:
        return None
    continent, country = COUNTRIES[code]
    return Facts(geo_continent=continent, geo_country=country)


def _facts(record: object) -> Facts | None:
    """Return the facts of a record in any layout; None in an unknown one."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    if not isinstance(country, dict):
        return _place(
            record.get("country_code"),
            None,
            None,
            record.get("city"),
            record.get("longitude"),
            record.get("latitude"),
        )
    location = record.get("location")
    longitude, latitude = (
        (location.get("longitude"), location.get("latitude"))
        if isinstance(location, dict)
        else (None, None)
    )
    return _place(
        country.get("iso_code"),
        _english(country),
        _english(record.get("continent")),
        _english(record.get("city")),
        longitude,
        latitude,
    )


def _english(place: object) -> object:
    names = place.get("names") if isinstance(place, dict) else None
    return names.get("en") if isinstance(names, dict) else None


def _place(
    code: object,
    country: object,
    continent: object,
    city: object,
    longitude: object,
    latitude: object,
) -> Facts | None:
    try:
        return _cached_place(code, country, continent, city, longitude, latitude)
    except TypeError:  # not hashable, so neither text nor number
        return None


@lru_cache(maxsize=200_000)
def _cached_place(
    code: object,
    country: object,
    continent: object,
    city: object,
    longitude: object,
    latitude: object,
) -> Facts | None:
    known = COUNTRIES.get(code) if isinstance(code, str) else None
    degrees = _degrees(longitude, limit=180), _degrees(latitude, limit=90)
    facts = Facts(
        geo_continent=known[0] if known else _text(continent),
        geo_country=known[1] if known else _text(country),
        geo_city=_text(city),
        geo_lon=degrees[0] if None not in degrees else None,
        geo_lat=degrees[1] if None not in degrees else None,
    )
    return None if facts == Facts() else facts


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _degrees(value: object, *, limit: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        degrees = float(value)  # the flat layout has text
    except ValueError:
        return None
    return degrees if math.isfinite(degrees) and abs(degrees) <= limit else None
