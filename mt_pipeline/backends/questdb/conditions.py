"""Builds SQL conditions on values that others chose. No other module binds a value of an `IN`."""

from collections.abc import Sequence

from psycopg import sql


def among(column: sql.Composable, values: Sequence[object]) -> sql.Composed:
    """Build the condition that a column has one of these values, bound in their order.

    QuestDB reads a single text bound in `IN ($1)` as an array or a NULL if it looks like one:
    `[x`, `{x`, `null`. As one of several values, or after `=`, it is text.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a condition needs a value")
    if len(values) == 1:
        return sql.SQL("{} = {}").format(column, sql.Placeholder())
    return sql.SQL("{} IN ({})").format(
        column, sql.SQL(", ").join([sql.Placeholder()] * len(values))
    )
