"""Who runs the remote ends of flows, and which party each is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.offline.services import categories
from mt_pipeline.enrichment.owners.companies import TRACKERS, Companies
from mt_pipeline.enrichment.owners.first_parties import FirstParties
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.enrichment.owners.parties import parties

SCHEMA = pa.schema(
    [
        ("asn", pa.int64()),
        ("organisation", pa.string()),
        ("party", pa.string()),
        ("tracker", pa.string()),
        ("app_tag", pa.string()),
        ("app_category_tag", pa.string()),
    ]
)
"""Number of the autonomous system and its organisation, the party, the kind of tracker, and the
application with its category, if the system serves one alone."""

_TRACKERS = pa.array(sorted(TRACKERS), pa.string())


@dataclass(frozen=True)
class RemoteEnds:
    """What is known of remote ends without asking anyone.

    Attributes:
        networks: the networks of addresses.
        companies: the companies of names and networks.
        first_parties: who is the first party of an experiment or a device.
    """

    networks: Networks
    companies: Companies
    first_parties: FirstParties

    def look_up(
        self, *, experiment: str, addresses: pa.Array, names: pa.Array, devices: pa.Array
    ) -> pa.RecordBatch:
        """Look up the remote ends of an experiment; each distinct one is looked up once.

        Args:
            experiment: its folded name.
            addresses: as text; NULL for an end that is not PUBLIC, of which nothing is known.
            names: NULL for an end without a name.
            devices: the devices at the local ends, NULL where they are not known.

        Returns:
            A row per end, with SCHEMA.
        """
        names = pc.if_else(pc.is_valid(addresses), names, None)
        rows, numbers = _distinct(addresses, names, devices)
        addresses, names, devices = (each.take(rows) for each in (addresses, names, devices))
        networks = self.networks.look_up(addresses)
        ends = self.companies.of_ends(names, networks)
        party = parties(
            pa.RecordBatch.from_pydict(
                {"device": devices, "name": names, "company": ends["company"], "role": ends["role"]}
            ),
            lambda device: self.first_parties.of(experiment, device),
        )
        tracker = pc.if_else(pc.is_in(ends["role"], _TRACKERS), ends["role"], None)
        owners = [networks["asn"], networks["organisation"], party, tracker]
        apps = [ends["app"], _categories(ends["app"])]
        return pa.RecordBatch.from_arrays([*owners, *apps], schema=SCHEMA).take(numbers)


def _distinct(*columns: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the first row of each distinct one, and for each row which of these it is like."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values = column.dictionary_encode(null_encoding="encode")
        codes = np.unique(codes, return_inverse=True)[1] * len(values.dictionary)
        codes += values.indices.to_numpy()
    _, rows, numbers = np.unique(codes, return_index=True, return_inverse=True)
    return pa.array(rows), pa.array(numbers)


def _categories(apps: pa.Array) -> pa.Array:
    """Return the category of each application, as our list of services has it."""
    encoded = apps.dictionary_encode()
    of_apps = [categories()[app] for app in encoded.dictionary.to_pylist()]
    return pa.array(of_apps, pa.string()).take(encoded.indices)
