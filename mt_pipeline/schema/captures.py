"""The column table of `captures`: name, type, unit and meaning.

The table and the documentation derive from CAPTURE_COLUMNS.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaptureColumn:
    """A column of `captures`.

    Attributes:
        name: its name in the table.
        type: its QuestDB type.
        unit: the unit of a number or a time; empty if it has none.
        meaning: a phrase for the documentation.
    """

    name: str
    type: str
    unit: str
    meaning: str


CAPTURE_COLUMNS: tuple[CaptureColumn, ...] = (
    CaptureColumn("ts", "TIMESTAMP", "microseconds, UTC", "when the load ended, or the purge"),
    CaptureColumn("capture", "SYMBOL", "", "capture key: the path of the capture below the inbox"),
    CaptureColumn("experiment", "SYMBOL", "", "first folder below the inbox, as [a-z0-9_]{1,64}"),
    CaptureColumn("state", "SYMBOL", "", "what became of it: `done`, `failed` or `purged`"),
    CaptureColumn("error", "VARCHAR", "", "why it failed"),
    CaptureColumn("packets", "LONG", "packets", "packets read"),
    CaptureColumn("rows", "LONG", "rows", "rows of `packets_<experiment>`"),
    CaptureColumn("flows", "LONG", "rows", "rows of `flows_<experiment>`"),
    CaptureColumn("bytes", "LONG", "bytes on the wire", "length of all packets that became rows"),
    CaptureColumn("skipped", "LONG", "packets", "packets that became no row"),
    CaptureColumn("skipped_reasons", "VARCHAR", "", "how many for which reason, as a JSON object"),
    CaptureColumn(
        "cut", "BOOLEAN", "", "the capture ends inside a packet; false if that is not known"
    ),
    CaptureColumn(
        "first_packet",
        "TIMESTAMP",
        "microseconds, UTC",
        "time of the earliest packet that became a row",
    ),
    CaptureColumn(
        "last_packet",
        "TIMESTAMP",
        "microseconds, UTC",
        "time of the latest packet that became a row",
    ),
    CaptureColumn("path", "VARCHAR", "", "the file"),
    CaptureColumn("size", "LONG", "bytes", "size of the file"),
    CaptureColumn("sha256", "VARCHAR", "", "hash of the file's content, hexadecimal"),
    CaptureColumn(
        "documents",
        "VARCHAR",
        "",
        "hash of all that made the documents: content, filter, fields, tshark; their name",
    ),
    CaptureColumn("filter", "VARCHAR", "", "display filter; empty if there was none"),
    CaptureColumn(
        "tshark_version",
        "SYMBOL",
        "",
        "tshark of the documents; NULL if the run left `tshark_json` out",
    ),
    CaptureColumn(
        "code_version",
        "SYMBOL",
        "",
        "version of the columns, as Dagster shows it for `questdb_packets`",
    ),
    CaptureColumn(
        "seconds_tshark",
        "DOUBLE",
        "seconds",
        "time taken by `tshark_json`; NULL if the run left it out",
    ),
    CaptureColumn("seconds_endpoints", "DOUBLE", "seconds", "time taken by `endpoints`"),
    CaptureColumn("seconds_enrichment", "DOUBLE", "seconds", "time taken by `netify_enrichment`"),
    CaptureColumn("seconds_load", "DOUBLE", "seconds", "time taken by `questdb_packets`"),
    CaptureColumn("run", "VARCHAR", "", "the Dagster run"),
    CaptureColumn(
        "endpoints",
        "LONG",
        "endpoints",
        "distinct public addresses and server names; "
        "NULL, as the next three, if nobody looked for answers",
    ),
    CaptureColumn(
        "cache_hits",
        "LONG",
        "answers",
        "answers of paid providers that were there already; "
        "a refresh asks for all its captures first",
    ),
    CaptureColumn(
        "calls", "LONG", "endpoints", "endpoints that a paid provider was asked about for this load"
    ),
    CaptureColumn(
        "pending",
        "LONG",
        "endpoints",
        "endpoints that wait until the budget of a provider allows more calls",
    ),
    CaptureColumn(
        "owed",
        "LONG",
        "endpoints",
        "endpoints of which a paid provider owes a fresh answer; as the last refresh left them",
    ),
    CaptureColumn(
        "calls_today",
        "LONG",
        "calls",
        "calls to Netify on that day (UTC) so far, of all runs; "
        "NULL if it is not among the providers",
    ),
    CaptureColumn(
        "budget_today",
        "LONG",
        "calls",
        "how many calls a day are allowed then; NULL if there is no limit",
    ),
    CaptureColumn(
        "label",
        "SYMBOL",
        "",
        "folders between the experiment and the capture; NULL where there are none",
    ),
)
