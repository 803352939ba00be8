"""Where addresses are, from data on this machine: a city or country file that the user names, or else what the registries published.

An MMDB says where an address is used, as far as its maker knows. The registries' data say to which country an address was allocated: that is where
its holder is registered. Countries and continents are spelled as in `countries.py`.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import iptocc
import maxminddb
import numpy as np

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.offline.countries import COUNTRIES
from mt_pipeline.enrichment.offline.mmdb_tree import NO_RECORD, Tree
from mt_pipeline.enrichment.provider import ProviderUnusable

LOOKED_AT = 1000
"""Records of a file to look at before it is taken for one without countries."""

RECORDS_KEPT = 200_000

_CURE = "name a city or country file in MT_OFFLINE_CITY_MMDB, such as DB-IP City Lite or GeoLite2 City, or unset it"


class Places(Protocol):
    """A source of places."""

    def of(self, addresses: Sequence[str]) -> list[Facts | None]:
        """Return the place of each address."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Allocations:
    """The country that a registry allocated an address to: AFRINIC, APNIC, ARIN, LACNIC, RIPE NCC, as the package iptocc carries it."""

    def of(self, addresses: Sequence[str]) -> list[Facts | None]:
        """Return the country of each address."""
        return [
            None if code is None else _of_country(code) for code in iptocc.country_code(addresses)
        ]

    def close(self) -> None:
        """Nothing is open."""


class CityFile:
    """An MMDB in the City or Country layout of MaxMind and DB-IP, or in the flat one of ip-location-db."""

    def __init__(self, path: Path) -> None:
        """Open the file and look whether it says what it should.

        Raises:
            ProviderUnusable: it is not there, is no MMDB, is cut or damaged, or has no countries.
        """
        self._path = path
        self._seen: dict[int, Facts | None] = {}  # by the number of the record
        try:
            self._reader = maxminddb.open_database(path)
        except OSError as error:
            raise ProviderUnusable(
                f"{path} cannot be read ({error.strerror or error}); {_CURE}"
            ) from None
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            raise ProviderUnusable(
                f"{path} is no MMDB, or is cut or damaged ({error}); fetch it again, or {_CURE}"
            ) from None
        try:
            self._check()
        except ProviderUnusable:
            self.close()
            raise

    def _check(self) -> None:
        try:
            self._tree = Tree(self._path, self._reader.metadata())
            seen = [record for _, record in islice(self._reader, LOOKED_AT)]
        except (maxminddb.InvalidDatabaseError, ValueError, UnicodeError) as error:
            raise ProviderUnusable(
                f"{self._path} is cut or damaged ({error}); fetch it again, or {_CURE}"
            ) from None
        if not any((facts := _facts(record)) and facts.geo_country for record in seen):
            kind = self._reader.metadata().database_type
            raise ProviderUnusable(
                f"{self._path} has no countries, it is of the type {kind!r}; {_CURE}"
            )

    def of(self, addresses: Sequence[str]) -> list[Facts | None]:
        """Return the place of each address."""
        numbers, firsts, which = np.unique(
            self._tree.records(addresses), return_index=True, return_inverse=True
        )
        if len(self._seen) > RECORDS_KEPT:
            self._seen.clear()
        found = [
            self._of_record(number, addresses[first])
            for number, first in zip(numbers.tolist(), firsts.tolist(), strict=True)
        ]
        return [found[place] for place in which.tolist()]

    def _of_record(self, number: int, address: str) -> Facts | None:
        """Read a record once; any of its addresses will do."""
        if number != NO_RECORD and number not in self._seen:
            self._seen[number] = _facts(self._reader.get(address))
        return self._seen.get(number)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


@lru_cache(maxsize=1000)
def _of_country(code: str) -> Facts | None:
    if code == "EU":  # given to no country in particular
        return Facts(geo_continent="Europe")
    if code not in COUNTRIES:
        return None
    continent, country = COUNTRIES[code]
    return Facts(geo_continent=continent, geo_country=country)


def _facts(record: object) -> Facts | None:
    """Read a record of any layout; what has another form says nothing."""
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
    spot = record.get("location")
    longitude, latitude = (
        (spot.get("longitude"), spot.get("latitude")) if isinstance(spot, dict) else (None, None)
    )
    return _place(
        country.get("iso_code"),
        _english(country),
        _english(record.get("continent")),
        _english(record.get("city")),
        longitude,
        latitude,
    )


def _english(named: object) -> object:
    names = named.get("names") if isinstance(named, dict) else None
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
        return _of_place(code, country, continent, city, longitude, latitude)
    except TypeError:  # not hashable: no text and no number
        return None


@lru_cache(maxsize=200_000)
def _of_place(
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
