"""The provider `offline`, which needs no network.

`places.py` knows the places of addresses, `apps.py` the applications of names and addresses.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from mt_pipeline.enrichment.models import Facts, Kind
from mt_pipeline.enrichment.offline.apps import Apps
from mt_pipeline.enrichment.offline.places import Allocations, CityFile


class Offline:
    """Looks up endpoints in files on this machine; a `FreeProvider`."""

    name = "offline"
    kinds: frozenset[Kind] = frozenset({"address", "name"})

    def __init__(self, *, city_mmdb: Path | None = None, apps: Path | None = None) -> None:
        """Open the files.

        Args:
            city_mmdb: places of addresses, an MMDB in City or Country layout. Without one, a place
                is the country to which a registry allocated the address.
            apps: applications of names and address blocks, in the format of netifyd's
                netify-apps.conf. It takes precedence over the list in this package.

        Raises:
            ProviderUnusable: a file cannot be used.
        """
        well_known = Apps.well_known()
        self._apps = well_known if apps is None else Apps.read(apps, fallback=well_known)
        self._places = Allocations() if city_mmdb is None else CityFile(city_mmdb)

    def close(self) -> None:
        """Close the file of places."""
        self._places.close()

    def look_up(self, kind: Kind, endpoints: Sequence[str]) -> list[Facts | None]:
        """Return the facts of each endpoint; None for unknown ones."""
        if kind == "name":
            return self._apps.look_up_names(endpoints)
        # The files have IPv4-mapped addresses in their IPv4 form alone.
        addresses = [
            address[7:] if address.startswith("::ffff:") and "." in address else address
            for address in endpoints
        ]
        places = self._places.look_up(addresses)
        if not self._apps.has_blocks:
            return places
        return [
            _combine(place, app)
            for place, app in zip(places, self._apps.look_up_addresses(addresses), strict=True)
        ]


@lru_cache(maxsize=100_000)
def _merged(place: Facts, app: Facts) -> Facts:
    return Facts(
        app_tag=app.app_tag,
        app_category_tag=app.app_category_tag,
        geo_continent=place.geo_continent,
        geo_country=place.geo_country,
        geo_city=place.geo_city,
        geo_lon=place.geo_lon,
        geo_lat=place.geo_lat,
    )


def _combine(place: Facts | None, app: Facts | None) -> Facts | None:
    if place is None or app is None:
        return place or app
    return _merged(place, app)
