"""A view as conditions on the rows of tables, and as lines of Python."""

from collections.abc import Sequence
from datetime import UTC, datetime

from mt_pipeline.api.where import All, Where, col
from mt_pipeline.explorer.dimensions import DIMENSIONS, Dimension
from mt_pipeline.explorer.state import Filter, View


def where(view: View) -> Where | None:
    """Return the condition on flows that the filters of a view are."""
    parts = list[Where]()
    for name in dict.fromkeys(each.dimension for each in view.filters):
        dimension = DIMENSIONS[name]
        filters = [each for each in view.filters if each.dimension == name]
        for wanted in (True, False):
            if some := [each for each in filters if each.wanted is wanted]:
                among = col(dimension.column).isin(_values(dimension, some))
                parts.append(among if wanted else ~among)
    if view.conversation is not None:
        parts.append(col("conversation") == view.conversation)
    return parts[0] if len(parts) == 1 else All(tuple(parts)) if parts else None


def time_of(second: int | None) -> datetime | None:
    """Return a second since 1970 as a time."""
    return None if second is None else datetime.fromtimestamp(second, UTC)


def lines(view: View) -> str:
    """Return the lines of Python that return the flows of a view."""
    condition = where(view)
    given = {
        "where": None if condition is None else str(condition),
        "since": _text(view.since),
        "until": _text(view.until),
    }
    options = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
    calls = [f"mt.flows({name!r}{options}).df()" for name in view.experiments]
    if len(calls) == 1:
        return f"import mt_pipeline as mt\n\nflows = {calls[0]}\n"
    listed = "".join(f"        {call},\n" for call in calls)
    return (
        "import mt_pipeline as mt\nimport pandas as pd\n\n"
        f"flows = pd.concat(\n    [\n{listed}    ],\n    ignore_index=True,\n)\n"
    )


def _text(second: int | None) -> str | None:
    time = time_of(second)
    return None if time is None else f"{time:%Y-%m-%dT%H:%M:%S}"


def _values(dimension: Dimension, filters: Sequence[Filter]) -> list[str | int | None]:
    values = [each.value for each in filters]
    if not dimension.is_number:
        return list(values)
    # No number is written in another way: a text that is none matches nothing.
    return [
        value if value is None else int(value)
        for value in values
        if value is None or (value.isascii() and value.isdigit() and str(int(value)) == value)
    ]
