"""Which columns can be asked for, their Arrow types, and what stands in them for nothing known."""

from collections.abc import Sequence

import pyarrow as pa

from mt_pipeline.api.where import WhereError
from mt_pipeline.schema.packets import ORIGINAL_COLUMNS
from mt_pipeline.schema.tables import PACKETS, Table
from mt_pipeline.system.nearest import did_you_mean

TIME = pa.timestamp("us", "UTC")
_TYPES = {"TIMESTAMP": TIME, "INT": pa.int32(), "LONG": pa.int64(), "DOUBLE": pa.float64()}
_UNKNOWN = {column.name for column in ORIGINAL_COLUMNS if column.type == "SYMBOL"}


def schema_of(table: Table, names: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of columns. All texts are strings, addresses too."""
    return pa.schema([(name, _TYPES.get(table.columns[name], pa.string())) for name in names])


def is_text(table: Table, name: str) -> bool:
    """Return whether a column has text, which addresses are, too."""
    return table.columns[name] not in _TYPES


def has_unknown(table: Table, name: str) -> bool:
    """Return whether a column has the text `Unknown` where nothing is known, and not NULL."""
    return table is PACKETS and name in _UNKNOWN


def checked(table: Table, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that somebody asked for, each once; all in their order by default.

    Raises:
        WhereError: a table has no such column, or no column is named.
    """
    if names is None:
        return tuple(table.columns)
    if isinstance(names, str) or not names:
        raise WhereError("columns must be a list of names, such as ['ts', 'tls_sni']")
    for name in names:
        check_column(table, name)
    return tuple(dict.fromkeys(names))


def check_column(table: Table, name: str) -> None:
    """Check that a table has a column.

    Raises:
        WhereError: it has not; the message suggests the nearest.
    """
    if name not in table.columns:
        hint = did_you_mean(name, table.columns) or ";"
        raise WhereError(f"{table.views} have no column {name!r}{hint} docs/columns.md lists them")
