"""What a condition means to QuestDB and to DuckDB: SQL in which every value is bound.

Both mean the same, which a test holds. SQL has three truths and QuestDB handles NULL in its own
way, so a negation is carried down to the comparisons, and each says what it does with NULL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from mt_pipeline.api.columns import has_unknown
from mt_pipeline.api.values import Typed
from mt_pipeline.api.where import (
    NONE,
    ORDERED,
    TEXTUAL,
    All,
    AnyOf,
    Comparison,
    None_,
    Not,
    Where,
)
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.schema.packets import UNKNOWN
from mt_pipeline.schema.tables import Table

_NO_ADDRESS = "0.0.0.0"  # noqa: S104  the back ends store it as NULL
_TRUE, _FALSE = sql.SQL("(1 = 1)"), sql.SQL("(1 = 0)")


@dataclass(frozen=True)
class Dialect:
    """How a database asks what its own way.

    Attributes:
        placeholder: where a value is bound.
        text: a column as text; `{}` is the column.
        contains: whether a text has the value within it; and so on. `{0}` is the text, `{1}` the
            value, `{2}` its length in UTF-16.
    """

    placeholder: str
    text: str
    contains: str
    startswith: str
    endswith: str


QUESTDB = Dialect(
    "%s",
    "{}::string",
    "strpos({0}, {1}) > 0",
    "left({0}, {2}) = {1}",
    "right({0}, {2}) = {1}",
)
DUCKDB = Dialect("?", "{}", "contains({0}, {1})", "starts_with({0}, {1})", "ends_with({0}, {1})")


@dataclass(frozen=True)
class Condition:
    """SQL and the values that it binds, in their order.

    Attributes:
        sql: for psycopg.
        values: what its placeholders stand for.
        placeholder: of the database.
    """

    sql: sql.Composable
    values: tuple[Typed, ...]
    placeholder: str

    @property
    def text(self) -> str:
        """The SQL as text."""
        # Each placeholder is written as %s; names of columns have no such thing.
        return self.sql.as_string(None).replace("%s", self.placeholder)


def condition(
    where: Where | None,
    table: Table,
    dialect: Dialect,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Condition:
    """Return what stands after WHERE.

    Args:
        where: with values as `values.check` returns them; None for all rows.
        table: whose columns it names.
        dialect: of the database.
        since: the earliest time, naive UTC.
        until: the time before which the rows are.
    """
    built = _Builder(table, dialect)
    parts = [] if where is None else [built.condition(where, wanted=True)]
    ts = sql.Identifier(table.keys[0])
    parts += [built.bound(ts, ">=", since)] if since else []
    parts += [built.bound(ts, "<", until)] if until else []
    joined = _joined(parts, " AND ", _TRUE)
    return Condition(joined, tuple(built.values), dialect.placeholder)


class _Builder:
    """Builds one condition, and collects its values in the order of their placeholders."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        self._table, self._dialect = table, dialect
        self.values: list[Typed] = []

    def bound(self, column: sql.Composable, sign: str, value: Typed) -> sql.Composed:
        self.values.append(value)
        return sql.SQL("{} {} {}").format(column, sql.SQL(sign), sql.Placeholder())

    def condition(self, where: Where, *, wanted: bool) -> sql.Composable:
        """Build a condition, or its opposite."""
        if isinstance(where, Not):
            return self.condition(where.part, wanted=not wanted)
        if isinstance(where, All | AnyOf):
            parts = [self.condition(part, wanted=wanted) for part in where.parts]
            if isinstance(where, All) is wanted:
                return _joined(parts, " AND ", _TRUE)
            return _joined(parts, " OR ", _FALSE)
        assert isinstance(where, Comparison)  # noqa: S101  `values.check` lets nothing else pass
        column = sql.Identifier(where.column)
        test = self._equality if where.operator in ("=", "in") else self._inequality
        if where.operator in TEXTUAL:
            test = self._textual
        return test(column, where, wanted)

    def _equality(self, column: sql.Identifier, where: Comparison, wanted: bool) -> sql.Composable:
        values = [value for value in where.values if not isinstance(value, None_)]
        if self._table.columns[where.column] == "IPV4":
            values = [value for value in values if value != _NO_ADDRESS]
        parts = list[sql.Composable]()
        if wanted:
            if values:
                self.values += values
                parts.append(among(column, values))
            if NONE in where.values:
                parts.append(self._is_none(column, where.column, wanted=True))
            return _joined(parts, " OR ", _FALSE)
        if values:
            parts.append(self._none_of(column, values))
        if NONE in where.values:
            parts.append(self._is_none(column, where.column, wanted=False))
        return _joined(parts, " AND ", _TRUE)

    def _none_of(self, column: sql.Identifier, values: Sequence[Typed]) -> sql.Composable:
        # One after the other: QuestDB looks a plain `<>` or `NOT IN` up in the index of tls_sni,
        # and fails if that lacks the value.
        self.values += values
        other = sql.SQL("CASE WHEN {} THEN 1 ELSE 0 END = 0").format(among(column, values))
        return sql.SQL("({} OR {} IS NULL)").format(other, column)

    def _is_none(self, column: sql.Identifier, name: str, *, wanted: bool) -> sql.Composable:
        if not has_unknown(self._table, name):
            return sql.SQL("{} IS NULL" if wanted else "{} IS NOT NULL").format(column)
        self.values.append(UNKNOWN)
        sign = sql.SQL("=" if wanted else "<>")
        return sql.SQL("coalesce({}, {}) {} {}").format(
            column, sql.Literal(UNKNOWN), sign, sql.Placeholder()
        )

    def _inequality(
        self, column: sql.Identifier, where: Comparison, wanted: bool
    ) -> sql.Composable:
        (value,) = where.values
        assert not isinstance(value, None_)  # noqa: S101  `values.check` refuses it
        if wanted:
            return self.bound(column, where.operator, value)
        opposite = self.bound(column, ORDERED[where.operator], value)
        return sql.SQL("({} OR {} IS NULL)").format(opposite, column)

    def _textual(self, column: sql.Identifier, where: Comparison, wanted: bool) -> sql.Composable:
        (value,) = where.values
        assert isinstance(value, str)  # noqa: S101  `values.check` refuses others
        self.values.append(value)
        length = sql.Literal(len(value.encode("utf-16-le")) // 2)
        text = sql.SQL(self._dialect.text).format(column)
        form: Callable[..., sql.Composed] = sql.SQL(getattr(self._dialect, where.operator)).format
        found = form(text, sql.Placeholder(), length)
        if wanted:
            return found
        other = sql.SQL("CASE WHEN {} THEN 1 ELSE 0 END = 0").format(found)
        return sql.SQL("({} OR {} IS NULL)").format(other, column)


def _joined(parts: Sequence[sql.Composable], word: str, empty: sql.Composable) -> sql.Composable:
    if not parts:
        return empty
    return sql.SQL("({})").format(sql.SQL(word).join(parts))
