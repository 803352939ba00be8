"""What conditions mean, in plain Python: the slow reading that both back ends must agree with."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from mt_pipeline.api.where import NONE, All, AnyOf, Comparison, Not, Where
from mt_pipeline.schema.packets import ORIGINAL_COLUMNS

Row = Mapping[str, object]
UNKNOWN_IN = {column.name for column in ORIGINAL_COLUMNS if column.type == "SYMBOL"}

_OPERATORS: Mapping[str, Callable[..., bool]] = {
    "<": lambda value, other: value < other,
    "<=": lambda value, other: value <= other,
    ">": lambda value, other: value > other,
    ">=": lambda value, other: value >= other,
    "contains": lambda value, other: other in value,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def holds(where: Where, row: Row, *, packets: bool) -> bool:
    """Return whether a condition holds for a row."""
    if isinstance(where, Not):
        return not holds(where.part, row, packets=packets)
    if isinstance(where, All):
        return all(holds(part, row, packets=packets) for part in where.parts)
    if isinstance(where, AnyOf):
        return any(holds(part, row, packets=packets) for part in where.parts)
    assert isinstance(where, Comparison)
    value = row[where.column]
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)
    if where.operator in ("=", "in"):
        unknown = packets and where.column in UNKNOWN_IN and value == "Unknown"
        if NONE in where.values and (value is None or unknown):
            return True
        return value is not None and value in where.values
    return value is not None and _OPERATORS[where.operator](value, where.values[0])
