"""The whole view in one answer: totals, timeline and tables."""

from collections.abc import Mapping

from mt_pipeline.explorer import conversations
from mt_pipeline.explorer.asked import Seen, see
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.first_seen import first_seen
from mt_pipeline.explorer.matrix import matrix as crossed
from mt_pipeline.explorer.state import Asked
from mt_pipeline.explorer.store import Store
from mt_pipeline.explorer.tables import SORTS, Order, table
from mt_pipeline.explorer.timeline import timeline
from mt_pipeline.explorer.totals import span, totals

TABLE = ("dimension", "find", "sort", "order", "limit")
"""Parameters of a table."""

MATRIX = ("rows", "columns", "limit")
NEW = ("dimension", "limit")
CONVERSATIONS = ("side", "sort", "order", "offset", "limit")

_MOST_ROWS = 10_000
_MOST_PAIRED = 100
_MOST_CONVERSATIONS = 1_000
_MOST_OFFSET = 10**9
_LONGEST = 1_000


def view(store: Store, asked: Asked) -> Mapping[str, object]:
    """Return totals, timeline and the first rows of all tables."""
    seen = see(store, asked.view)
    order = Order("difference" if seen.vs else asked.view.measure)
    return {
        **head(seen),
        **totals(seen),
        "timeline": timeline(seen),
        "tables": [table(seen, name, order) for name in DIMENSIONS],
    }


def one_table(store: Store, asked: Asked) -> Mapping[str, object]:
    """Return the table of one dimension: sorted, searched, as long as is asked."""
    dimension = asked.dimension("dimension")
    default = "difference" if asked.view.compares else asked.view.measure
    sort = asked.choice("sort", default, SORTS)
    down = asked.choice("order", "asc" if sort == "value" else "desc", ("asc", "desc")) == "desc"
    find = asked.more.get("find", "")[:_LONGEST]
    limit = asked.number("limit", 100, most=_MOST_ROWS)
    return table(see(store, asked.view), dimension, Order(sort, down, find, limit))


def matrix(store: Store, asked: Asked) -> Mapping[str, object]:
    """Return the measure of each pair of values of two dimensions."""
    rows, columns = asked.dimension("rows", "app"), asked.dimension("columns", "country")
    limit = asked.number("limit", 12, most=_MOST_PAIRED)
    return crossed(see(store, asked.view), rows, columns, limit=limit)


def new(store: Store, asked: Asked) -> Mapping[str, object]:
    """Return when each value of a dimension was first seen."""
    dimension = asked.dimension("dimension")
    limit = asked.number("limit", 200, most=_MOST_ROWS)
    return first_seen(see(store, asked.view), dimension, limit=limit)


def listed(store: Store, asked: Asked) -> Mapping[str, object]:
    """Return some of the conversations, of a comparison those of one side: 0 or 1."""
    sort = asked.choice("sort", "bytes", conversations.SORTS)
    down = asked.choice("order", "asc" if sort == "first" else "desc", ("asc", "desc")) == "desc"
    offset = asked.number("offset", 0, most=_MOST_OFFSET)
    limit = asked.number("limit", 50, most=_MOST_CONVERSATIONS)
    seen = see(store, asked.view)
    side = seen.sides[asked.number("side", 0, most=len(seen.sides) - 1)]
    return conversations.conversations(side, sort=sort, descending=down, offset=offset, limit=limit)


def head(seen: Seen) -> Mapping[str, object]:
    """Return what every view says of itself."""
    view = seen.view
    zoom = None if view.since is view.until is None else {"since": view.since, "until": view.until}
    return {"version": seen.version, "partial": seen.partial, "span": span(seen), "zoom": zoom}
