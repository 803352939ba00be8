"""City files for tests, built here: the layouts that users have."""

from collections.abc import Mapping
from pathlib import Path

from mmdb_writer import MMDBWriter, TreeWriter
from netaddr import IPSet

Record = Mapping[str, object]


def nested(
    code: str, country: str, city: str | None = None, spot: tuple[float, float] | None = None
) -> Record:
    """Make a record as GeoLite2 and DB-IP have it; a place is longitude and latitude."""
    names = {"en": country, "de": f"{country} auf Deutsch"}
    record: dict[str, object] = {
        "continent": {"code": "XX", "names": {"en": "A continent"}},
        "country": {"iso_code": code, "names": names},
    }
    if city:
        record["city"] = {"names": {"en": city, "de": f"{city} auf Deutsch"}}
    if spot:
        record["location"] = {"longitude": spot[0], "latitude": spot[1]}
    return record


class _Tree(TreeWriter):
    """Writes tree numbers of at least so many bits; the library uses the fewest that fit."""

    least_bits = 24

    def _adjust_record_size(self) -> None:
        super()._adjust_record_size()
        self.record_size = max(self.record_size, self.least_bits)


def city_file(
    path: Path,
    records: Mapping[str, Record],
    *,
    kind: str = "GeoLite2-City",
    version: int = 6,
    bits: int = 24,
) -> Path:
    """Write a file from blocks of addresses to records, with tree numbers of 24, 28 or 32 bits."""
    writer = MMDBWriter(
        version, kind, languages=["en", "de"], ipv4_compatible=version == 6, float_type="f64"
    )
    for block, record in records.items():
        writer.insert_network(IPSet([block]), record)
    tree = _Tree(writer.tree, writer._build_meta(), writer.int_type, writer.float_type)
    tree.least_bits = bits
    tree.write(str(path))
    return path
