"""The inputs and code version of each asset. The UI shows what an older version made as stale.

For the underlying concept, see https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching
"""

import hashlib

from mt_pipeline.enrichment.chain import SCHEMA as ANSWERS
from mt_pipeline.packets.announcements import ANNOUNCEMENTS, SEEN
from mt_pipeline.packets.certificates import CERTIFICATES
from mt_pipeline.packets.endpoints import ENDPOINTS
from mt_pipeline.packets.endpoints import SCHEMA as ENDPOINTS_SCHEMA
from mt_pipeline.packets.lookups import LOOKUPS
from mt_pipeline.packets.sums import SUMS
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS, IN_PACKETS
from mt_pipeline.tshark import hellos
from mt_pipeline.tshark.command import PREFERENCES
from mt_pipeline.tshark.fields import FIELDS

UPSTREAM: dict[str, list[str]] = {
    "tshark_json": [],
    "endpoints": ["tshark_json"],
    "netify_enrichment": ["endpoints"],
    "questdb_packets": ["endpoints", "netify_enrichment"],
}
"""The assets that each asset is made of."""


def version(*parts: object) -> str:
    """Hash the parts of a version. Return 12 hexadecimal digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


CODE_VERSIONS = {
    "tshark_json": version(FIELDS, PREFERENCES, hellos.VERSION),
    # Only the columns of its own files: a new column of answers must not type packets again.
    "endpoints": version(
        ENDPOINTS_SCHEMA.to_string(),
        ENDPOINTS,
        SUMS,
        LOOKUPS,
        CERTIFICATES,
        ANNOUNCEMENTS,
        SEEN,
        [column for column in COLUMNS if column.origin in IN_PACKETS],
    ),
    "netify_enrichment": version(ANSWERS.to_string()),
    "questdb_packets": version(COLUMNS, FLOW_COLUMNS),
}

ROWS = version(CODE_VERSIONS["endpoints"], CODE_VERSIONS["questdb_packets"])
"""Version of the rows: a refresh loads captures again whose rows an earlier one made."""
