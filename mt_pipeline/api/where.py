"""Conditions on rows: a column, an operator and values, combined by and, or, not.

There is nothing else, and never SQL. The text form is `where_text.py`. What a condition means to a
database is `where_sql.py`.

A value that is not known, NULL or `Unknown`, is NONE. Comparisons with it are false, and `~` is the
exact opposite. So the rows of a condition and those of its opposite are all rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NoReturn

from mt_pipeline.errors import CommandError


class None_(Enum):
    """The type of NONE."""

    NONE = "(none)"


NONE = None_.NONE
"""What is not known. In text, `(none)` without quotes."""

Value = str | int | float | datetime
"""What a column is compared with."""

ORDERED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
"""Operators for numbers and times, each with its opposite."""
TEXTUAL = ("contains", "startswith", "endswith")
"""Operators for text; upper and lower case differ."""

_MOST_DEPTH = 100


class WhereError(CommandError):
    """A condition cannot be understood; exit status 2 of a command."""


class Where:
    """A condition on rows; combine conditions by `&`, `|` and `~`."""

    def __and__(self, other: "Where") -> "Where":
        """Return the condition that both hold."""
        return All((*_parts(self, All), *_parts(other, All)))

    def __or__(self, other: "Where") -> "Where":
        """Return the condition that one of them holds, or both."""
        return AnyOf((*_parts(self, AnyOf), *_parts(other, AnyOf)))

    def __invert__(self) -> "Where":
        """Return the opposite."""
        return self.part if isinstance(self, Not) else Not(self)

    def __bool__(self) -> NoReturn:
        """Refuse `and`, `or` and `not`, of which Python would drop a side."""
        raise TypeError("combine conditions by &, | and ~, with parentheses around each")


@dataclass(frozen=True)
class Comparison(Where):
    """A column, an operator and its values: one, or for `in` any number."""

    column: str
    operator: str
    values: tuple[Value | None_, ...]

    def __str__(self) -> str:
        """Return the text form."""
        if self.operator == "in":
            return f"{self.column} in ({', '.join(map(_quoted, self.values))})"
        return f"{self.column} {self.operator} {_quoted(self.values[0])}"


@dataclass(frozen=True)
class All(Where):
    """All of the parts hold."""

    parts: tuple[Where, ...]

    def __str__(self) -> str:
        """Return the text form."""
        return " and ".join(map(_within, self.parts))


@dataclass(frozen=True)
class AnyOf(Where):
    """At least one of the parts holds."""

    parts: tuple[Where, ...]

    def __str__(self) -> str:
        """Return the text form."""
        return " or ".join(map(_within, self.parts))


@dataclass(frozen=True)
class Not(Where):
    """The part does not hold."""

    part: Where

    def __str__(self) -> str:
        """Return the text form."""
        return f"not ({self.part})"


class col:
    """A column to make conditions of; None stands for what is not known."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, value: Value | None_ | None) -> Where:  # type: ignore[override]
        """Return the condition that it has the value."""
        return self._comparison("=", value)

    def __ne__(self, value: Value | None_ | None) -> Where:  # type: ignore[override]
        """Return the condition that it has another value, or none."""
        return ~self._comparison("=", value)

    def __lt__(self, value: Value) -> Where:
        """Return the condition that it is less."""
        return self._comparison("<", value)

    def __le__(self, value: Value) -> Where:
        """Return the condition that it is less or equal."""
        return self._comparison("<=", value)

    def __gt__(self, value: Value) -> Where:
        """Return the condition that it is greater."""
        return self._comparison(">", value)

    def __ge__(self, value: Value) -> Where:
        """Return the condition that it is greater or equal."""
        return self._comparison(">=", value)

    def isin(self, values: Iterable[Value | None_ | None]) -> Where:
        """Return the condition that it has one of the values."""
        return Comparison(self.name, "in", tuple(map(_or_none, values)))

    def contains(self, text: str) -> Where:
        """Return the condition that it has the text within it."""
        return self._comparison("contains", text)

    def startswith(self, text: str) -> Where:
        """Return the condition that it begins with the text."""
        return self._comparison("startswith", text)

    def endswith(self, text: str) -> Where:
        """Return the condition that it ends with the text."""
        return self._comparison("endswith", text)

    def _comparison(self, operator: str, value: Value | None_ | None) -> Where:
        return Comparison(self.name, operator, (_or_none(value),))


def check_depth(where: Where, depth: int = 0) -> None:
    """Refuse a condition that is nested too deeply to be walked.

    Raises:
        WhereError: always the same limit, whatever made the condition.
    """
    if depth > _MOST_DEPTH:
        raise WhereError(f"the condition is nested more than {_MOST_DEPTH} times: simplify it")
    if isinstance(where, All | AnyOf):
        for part in where.parts:
            check_depth(part, depth + 1)
    elif isinstance(where, Not):
        check_depth(where.part, depth + 1)


def _parts(where: Where, kind: type[All] | type[AnyOf]) -> tuple[Where, ...]:
    return where.parts if isinstance(where, kind) else (where,)


def _or_none(value: Value | None_ | None) -> Value | None_:
    return NONE if value is None else value


def _within(where: Where) -> str:
    return f"({where})" if isinstance(where, All | AnyOf) else str(where)


def _quoted(value: Value | None_) -> str:
    if isinstance(value, None_):
        return str(value.value)
    if isinstance(value, datetime):
        value = value.isoformat()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
