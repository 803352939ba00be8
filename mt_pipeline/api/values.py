"""Values of conditions and limits of time: checked against the type of their column."""

import ipaddress
import math
from datetime import UTC, date, datetime

from mt_pipeline.api.columns import check_column, is_text
from mt_pipeline.api.where import (
    NONE,
    ORDERED,
    TEXTUAL,
    All,
    AnyOf,
    Comparison,
    None_,
    Not,
    Value,
    Where,
    WhereError,
    check_depth,
)
from mt_pipeline.schema.tables import Table

_MOST_VALUES = 10_000
_BITS = {"INT": 31, "LONG": 63}
Typed = str | int | float | datetime
"""A value of the type of its column; times are naive and UTC, as the back ends take them."""


def check(where: Where, table: Table) -> Where:
    """Return a condition whose values have the types of their columns.

    Raises:
        WhereError: a column, an operator or a value cannot be; the message says which.
    """
    check_depth(where)
    if _count(where) > _MOST_VALUES:
        raise WhereError(f"the condition has more than {_MOST_VALUES:,} values: ask in parts")
    return _checked(where, table)


def time_of(value: str | date | datetime, what: str) -> datetime:
    """Return a time as naive UTC, in microseconds.

    Args:
        value: a time, a date (its midnight), or either in ISO 8601; UTC unless it has a zone.
        what: what errors call it.

    Raises:
        WhereError: it is no time.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise WhereError(
                f"{what} is no time: {value!r}; write such as 2026-03-01T10:00:00, in UTC"
            ) from None
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    try:
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError:
        raise WhereError(f"{what} is no time: {value}") from None


def _count(where: Where) -> int:
    if isinstance(where, All | AnyOf):
        return sum(map(_count, where.parts))
    return _count(where.part) if isinstance(where, Not) else len(getattr(where, "values", ()))


def _checked(where: Where, table: Table) -> Where:
    if isinstance(where, All | AnyOf):
        return type(where)(tuple(_checked(part, table) for part in where.parts))
    if isinstance(where, Not):
        return Not(_checked(where.part, table))
    if isinstance(where, Comparison):
        _check_operator(where, table)
        values = tuple(_typed(value, where, table) for value in where.values)
        return Comparison(where.column, where.operator, values)
    raise WhereError(f"{where!r} is no condition: make one with mt.col, or as text")


def _check_operator(where: Comparison, table: Table) -> None:
    check_column(table, where.column)
    text = is_text(table, where.column)
    if where.operator in ORDERED and text:
        raise WhereError(f"{where.column} is text: {where.operator} is for numbers and times")
    if where.operator in TEXTUAL and not text:
        raise WhereError(f"{where.column} is no text: {where.operator} is for text")
    if where.operator not in ("=", "in") and NONE in where.values:
        raise WhereError(f"nothing is {where.operator} {NONE.value}: use = or in")


def _typed(value: Value | None_, where: Comparison, table: Table) -> Typed | None_:
    if isinstance(value, None_):
        return value
    kind = table.columns[where.column]
    if kind == "TIMESTAMP":
        if not isinstance(value, str | date):
            raise WhereError(f"{where.column} is a time: {value!r} is none")
        return time_of(value, where.column)
    if kind in _BITS or kind == "DOUBLE":
        return _number(value, where.column, kind)
    if not isinstance(value, str):
        raise WhereError(f"{where.column} is text: write {value!r} in quotes")
    return _text(value, where, kind)


def _number(value: Value, column: str, kind: str) -> int | float:
    number = None if isinstance(value, bool | datetime) else _read(value, kind)
    if number is None:
        what = "a number" if kind == "DOUBLE" else "a whole number of its size"
        raise WhereError(f"{column} is {what}: {value!r} is none")
    return number


def _read(value: str | int | float, kind: str) -> int | float | None:
    """Return a number that a column of the type can have; None if it can have no such number."""
    try:
        number = float(value)
        if kind == "DOUBLE":
            return number if math.isfinite(number) else None
        whole = int(value)
    except (ValueError, OverflowError):
        return None
    return whole if whole == number and abs(whole) < 2 ** _BITS[kind] else None


def _text(value: str, where: Comparison, kind: str) -> str:
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise WhereError(f"{where.column}: {value!r} can be in no text")
    if where.operator in TEXTUAL and not value:
        raise WhereError(f"{where.column} {where.operator} needs a text that is not empty")
    if kind == "IPV4" and where.operator not in TEXTUAL:
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError:
            other = where.column.replace("ip_", "ipv6_")
            raise WhereError(
                f"{where.column} is an IPv4 address: {value!r} is none; IPv6 is in {other}"
            ) from None
    return value
