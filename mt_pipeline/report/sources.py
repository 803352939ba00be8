"""Whose data a page shows, as their licences ask it to say."""

from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A sentence with a link in it."""

    before: str
    link: str = ""
    url: str = ""
    after: str = ""


@dataclass(frozen=True)
class Files:
    """What the provider `offline` reads now; rows may be older.

    Attributes:
        city: type of the city file, as it says itself; None if there is none.
        apps: there is a file of applications.
    """

    city: str | None = None
    apps: bool = False


_REGISTRIES = "where the holder of an address is registered with AFRINIC, APNIC, ARIN, LACNIC or RIPE NCC. The machine may stand elsewhere. The data are what "  # noqa: E501
_IPTOCC = ("iptocc", "https://github.com/roniemartinez/IPToCC", " carries.")
_ALLOCATED = Source(
    f"Countries that offline answered are countries of allocation: {_REGISTRIES}", *_IPTOCC
)
_ALLOCATED_BEFORE = Source(
    f"Countries of captures that were loaded without this file are countries of allocation: {_REGISTRIES}",
    *_IPTOCC,
)
_DB_IP = Source(
    "Places that offline answered: ", "IP Geolocation by DB-IP", "https://db-ip.com", ", CC BY 4.0."
)
_MAXMIND = Source(
    "Places that offline answered: this page includes GeoLite2 data created by MaxMind, available from ",
    *["https://www.maxmind.com"] * 2,
)
_UNSET = Source(
    "Places that offline answered come from a file that is not set any more: if it was DB-IP's or MaxMind's, name them."
)
_APPS = Source(
    "Applications that offline answered: netify-apps.conf, the open edition, by ",
    "eGloo Inc.",
    "https://www.netify.ai",
    ", Apache License 2.0.",
)
_NETIFY = Source(
    "Applications, categories and places that netify answered: ",
    "Netify Data Feeds",
    "https://www.netify.ai",
    " by eGloo Inc.",
)
_LAND = Source(
    "Outlines of land on the map, and the middle of countries: ",
    "countryinfo",
    "https://github.com/porimol/countryinfo",
    ", MIT License; its outlines are those of world.geo.json.",
)
_SUFFIXES = Source(
    "Registrable domains: ",
    "Public Suffix List",
    "https://publicsuffix.org",
    ", Mozilla Public License 2.0.",
)


def sources(
    answered_by: Set[str], files: Files, *, has_city: bool, has_domains: bool, has_map: bool = False
) -> list[Source]:
    """List the sources of a page.

    Args:
        answered_by: names of the providers.
        files: of the provider `offline`.
        has_city: `offline` said a city.
        has_domains: the page has registrable domains.
        has_map: the page has a map.
    """
    found: list[Source] = []
    if "offline" in answered_by:
        if files.city or has_city:
            found.append(_city(files.city))
        if not has_city:
            found.append(_ALLOCATED_BEFORE if files.city else _ALLOCATED)
        if files.apps:
            found.append(_APPS)
    if "netify" in answered_by:
        found.append(_NETIFY)
    found += [
        Source(f"Answers of {name}: see the package that has this provider.")
        for name in sorted(answered_by - {"netify", "offline"})
    ]
    return [*found, *([_SUFFIXES] if has_domains else []), *([_LAND] if has_map else [])]


def _city(kind: str | None) -> Source:
    if kind is None:
        return _UNSET
    told = kind.lower().replace("-", "")
    if "dbip" in told:
        return _DB_IP
    return (
        _MAXMIND
        if "geolite" in told or "geoip" in told
        else Source(f"Places that offline answered: a file of the type {kind}.")
    )
