"""Sources of the data on a page, named as their licences require."""

from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A sentence with a link."""

    before: str
    link: str = ""
    url: str = ""
    after: str = ""


@dataclass(frozen=True)
class Files:
    """Files that are read on this machine now; rows may be older.

    Attributes:
        city: type of the city file, from its metadata; None if there is no file.
        apps: whether there is a file of applications.
        networks: type of the file of networks, which is asked before our table; None if there is
            no file.
    """

    city: str | None = None
    apps: bool = False
    networks: str | None = None


_REGISTRIES = (
    "where the holder of an address is registered with AFRINIC, APNIC, ARIN, LACNIC or RIPE NCC. "
    "The machine may stand elsewhere. The data are what "
)
_IPTOCC = ("iptocc", "https://github.com/roniemartinez/IPToCC", " carries.")
_ALLOCATED = Source(
    f"Countries that offline answered are countries of allocation: {_REGISTRIES}", *_IPTOCC
)
_ALLOCATED_BEFORE = Source(
    "Countries of captures that were loaded without this file are countries of allocation: "
    f"{_REGISTRIES}",
    *_IPTOCC,
)
_DB_IP = Source(
    "Places that offline answered: ", "IP Geolocation by DB-IP", "https://db-ip.com", ", CC BY 4.0."
)
_MAXMIND = Source(
    "Places that offline answered: "
    "this page includes GeoLite2 data created by MaxMind, available from ",
    *["https://www.maxmind.com"] * 2,
)
_UNSET = Source(
    "Places that offline answered come from a file that is not set any more: "
    "if it was DB-IP's or MaxMind's, name them."
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
_NDPI = Source(
    "Applications that ndpi found: ",
    "nDPI",
    "https://www.ntop.org/products/deep-packet-inspection/ndpi/",
    ", LGPL-3.0, by the package nfstream.",
)
_OWNERS = Source(
    "Organisations and autonomous systems: ",
    "IP Geolocation by DB-IP",
    "https://db-ip.com",
    ", RouteViews and the NRO, by ip-location-db, CC BY 4.0.",
)
_LICENCE = Source(
    "The licence of these: ", "CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/", "."
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
    answered_by: Set[str],
    files: Files,
    *,
    has_city: bool,
    has_domains: bool,
    has_map: bool = False,
    has_owners: bool = False,
) -> list[Source]:
    """List the sources of a page.

    Args:
        answered_by: names of the providers.
        files: files of the provider `offline`.
        has_city: whether `offline` returned a city.
        has_domains: whether the page has registrable domains.
        has_map: whether the page has a map.
        has_owners: whether the page has organisations.
    """
    result: list[Source] = []
    if "offline" in answered_by:
        if files.city or has_city:
            result.append(_city(files.city))
        if not has_city:
            result.append(_ALLOCATED_BEFORE if files.city else _ALLOCATED)
        if files.apps:
            result.append(_APPS)
    if "netify" in answered_by:
        result.append(_NETIFY)
    result += [
        Source(f"Answers of {name}: see the package that has this provider.")
        for name in sorted(answered_by - {"netify", "ndpi", "offline"})
    ]
    if "ndpi" in answered_by:
        result.append(_NDPI)
    if has_owners:
        result += [_OWNERS, _LICENCE]
        if files.networks:
            result.append(
                Source(f"Organisations come first from a file of the type {files.networks}.")
            )
    return [*result, *([_SUFFIXES] if has_domains else []), *([_LAND] if has_map else [])]


def _city(kind: str | None) -> Source:
    if kind is None:
        return _UNSET
    folded = kind.lower().replace("-", "")
    if "dbip" in folded:
        return _DB_IP
    if "geolite" in folded or "geoip" in folded:
        return _MAXMIND
    return Source(f"Places that offline answered: a file of the type {kind}.")
