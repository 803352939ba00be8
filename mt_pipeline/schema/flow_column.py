"""A column of flows_<experiment>, and the SQL that several share. The table of all is `flows.py`.

A source is DuckDB SQL over these tables of `rows/flows.py`:

- `f`: a flow and its conversation. `f.local_…` and `f.remote_…` describe its ends, `…_is_public`
  is true for a PUBLIC end. `rows/flows.py` looks up their devices and owners afterwards.
- `address`, `name`, `remote`: the answers for the remote address, for the server name and for the
  remote name of a PUBLIC end, NULL without an answer.
- `inspected`: the application that nDPI found in the conversation, `protocol` that which
  `f.protocol` says by itself; NULL without one.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FlowColumn:
    """A column of flows_<experiment>.

    Attributes:
        name: its name in the table.
        type: its QuestDB type.
        unit: the unit of a number or a time; empty if it has none.
        meaning: a phrase for the documentation.
        source: DuckDB SQL, see above; or OF_THE_CAPTURE.
    """

    name: str
    type: str
    unit: str
    meaning: str
    source: str


OF_THE_CAPTURE = ""
"""Source of the columns that are the same in all flows of a capture; `rows/flows.py` adds them."""


def text(name: str, meaning: str, source: str) -> FlowColumn:
    """Make a column of text."""
    return FlowColumn(name, "SYMBOL", "", meaning, source)


def number(name: str, kind: str, unit: str, meaning: str, source: str | None = None) -> FlowColumn:
    """Make a column of numbers or times; its source is that of `f` by default."""
    return FlowColumn(name, kind, unit, meaning, source or f"f.{name}")


_APP_SOURCES = {
    "name": "name",
    "address": "address",
    "remote": "remote_name",
    "inspected": "dpi",
    "protocol": "protocol",
}
"""Tables that know applications, the surest first, each with its `app_source`."""


def application(value: str, tables: Iterable[str] = _APP_SOURCES) -> str:
    """Select a value of the first table that knows an application; NULL if it is not of `tables`.

    So the application and what is said of it come from the same answer.

    Args:
        value: SQL of the value; `{table}` and `{source}` are filled in.
        tables: those that have the value.
    """
    cases = " ".join(
        f"WHEN {table}.app_tag IS NOT NULL THEN "
        + (value.format(table=table, source=source) if table in tables else "NULL")
        for table, source in _APP_SOURCES.items()
    )
    return f"CASE {cases} END"


DIRECTION = (
    "CASE WHEN f.local_address IS NULL OR f.remote_address IS NULL THEN 'none' "
    "WHEN f.local_is_public AND f.remote_is_public THEN 'transit'\n"
    "WHEN f.local_is_public OR f.remote_is_public THEN 'outside' ELSE 'inside' END"
)

_OTHER_PROVIDER = application("{table}.provider", ["remote", "inspected"])
PROVIDERS = (
    "nullif(array_to_string(list_sort(list_distinct(string_split("
    f"concat_ws(',', name.provider, address.provider, {_OTHER_PROVIDER}), ','))), ','), '')"
)
