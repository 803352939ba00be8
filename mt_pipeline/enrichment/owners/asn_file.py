"""Networks in an MMDB of the user: the layouts of its records. `networks.py` asks it."""

import re
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.enrichment.offline.mmdb_file import MmdbFile

_CURE = (
    "name an ASN file in MT_OFFLINE_ASN_MMDB, such as DB-IP ASN Lite or GeoLite2 ASN, or unset it"
)
_NUMBER = re.compile(r"(?:AS)?(\d{1,10})", re.IGNORECASE)
_NUMBERS = ("autonomous_system_number", "asn")
_NAMES = ("autonomous_system_organization", "as_name", "org", "name")
"""What MaxMind, DB-IP and ip-location-db call the organisation, then IPinfo and IPLocate."""


@dataclass(frozen=True)
class Network:
    """An autonomous system; None where a part is not known."""

    asn: int | None
    organisation: str | None


class AsnFile(MmdbFile[Network]):
    """An MMDB in the ASN layout of MaxMind and DB-IP, or the flat ones of IPinfo and IPLocate."""

    def __init__(self, path: Path) -> None:
        """Open the file and check that it has organisations.

        Raises:
            ProviderUnusable: the file is missing, is not an MMDB, is damaged, or has none.
        """
        super().__init__(
            path,
            facts=_network,
            has_needed=lambda network: None not in (network.asn, network.organisation),
            needed="numbers and organisations of autonomous systems",
            cure=_CURE,
        )


def _network(record: object) -> Network | None:
    """Return the network of a record in any layout; None in an unknown one."""
    if not isinstance(record, dict):
        return None
    asn = next((number for key in _NUMBERS if (number := _asn(record.get(key)))), None)
    name = next((text for key in _NAMES if (text := _text(record.get(key)))), None)
    return None if asn is None and name is None else Network(asn, name)


def _asn(value: object) -> int | None:
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip())):
        value = int(match[1])
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < 2**32 else None


def _text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None
