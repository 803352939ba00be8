"""What each asset is made of, and of which version its code is: the UI shows as stale what an older one made.

For the underlying concept, see https://docs.dagster.io/guides/build/assets/asset-versioning-and-caching
"""

import hashlib

from mt_pipeline.enrichment.enrich import SCHEMA as ANSWERS
from mt_pipeline.packets.endpoints import SCHEMA as ENDPOINTS
from mt_pipeline.packets.sums import SUMS
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS, Origin
from mt_pipeline.tshark.command import PREFERENCES
from mt_pipeline.tshark.fields import FIELDS

UPSTREAM: dict[str, list[str]] = {
    "tshark_json": [],
    "endpoints": ["tshark_json"],
    "netify_enrichment": ["endpoints"],
    "questdb_packets": ["endpoints", "netify_enrichment"],
}
"""What each asset is made of."""


def version(*parts: object) -> str:
    """Hash whatever makes a version: 12 hexadecimal digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


CODE_VERSIONS = {
    "tshark_json": version(FIELDS, PREFERENCES),
    # Only what its files hold, or packets would be typed anew for a column of answers.
    "endpoints": version(
        ENDPOINTS.to_string(),
        SUMS,
        [column for column in COLUMNS if column.origin in (Origin.PACKET, Origin.STREAM)],
    ),
    "netify_enrichment": version(ANSWERS.to_string()),
    "questdb_packets": version(COLUMNS, FLOW_COLUMNS),
}
