"""City files for tests, built here: the layouts that users have."""

from collections.abc import Mapping
from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

Record = Mapping[str, object]


def nested(code: str, country: str, city: str | None = None, spot: tuple[float, float] | None = None) -> Record:
    """Make a record as GeoLite2 and DB-IP have it; a place is longitude and latitude."""
    names = {"en": country, "de": f"{country} auf Deutsch"}
    record: dict[str, object] = {"continent": {"code": "XX", "names": {"en": "A continent"}}, "country": {"iso_code": code, "names": names}}
    if city:
        record["city"] = {"names": {"en": city, "de": f"{city} auf Deutsch"}}
    if spot:
        record["location"] = {"longitude": spot[0], "latitude": spot[1]}
    return record


def city_file(path: Path, records: Mapping[str, Record], *, kind: str = "GeoLite2-City", version: int = 6) -> Path:
    """Write a file: blocks of addresses to records."""
    writer = MMDBWriter(version, kind, languages=["en", "de"], ipv4_compatible=version == 6, float_type="f64")
    for block, record in records.items():
        writer.insert_network(IPSet([block]), record)
    writer.to_db_file(str(path))
    return path
