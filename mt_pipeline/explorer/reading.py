"""Rows of flows become an experiment in memory, some at a time, so that little else is held.

What is said of a conversation is the same in all its seconds, most often. So flows are read with
their numbers alone, and what is said of their conversations once: a third of the work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from mt_pipeline.api.columns import schema_of
from mt_pipeline.explorer.columns import SECOND, Column, Integers, distinct, narrow
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.frame import Flows, Frame
from mt_pipeline.schema.tables import FLOWS

_LISTED = "stream_index port_local remote_names remote_asn tls_sni tls_alpn geo_city".split()
"""What lists of conversations have besides the dimensions."""
_PLACES = ("geo_lat", "geo_lon")

ATTRIBUTES: Sequence[str] = (
    "capture",
    "conversation",
    *dict.fromkeys(
        each.column for each in DIMENSIONS.values() if each.column not in ("capture", "experiment")
    ),
    *_LISTED,
    *_PLACES,
)
"""Columns of flows that belong to a conversation."""

_TIMES = ("ts", "first_ts", "last_ts")
_SUMS = {
    "sent": "bytes_out",
    "received": "bytes_in",
    "packets_sent": "packets_out",
    "packets_received": "packets_in",
}

KEY = ("capture", "conversation")
NUMBERS: Sequence[str] = (*_TIMES, *_SUMS.values(), *KEY)
"""Columns of flows that change from second to second, and those that name the conversation."""
READ: Sequence[str] = (*_TIMES, *_SUMS.values(), *ATTRIBUTES)
"""All columns of flows that are read."""

Fits: TypeAlias = Callable[[float], bool]
"""Returns whether so many bytes may be held."""

_ROWS = 200_000
"""Rows that are held before they are encoded."""
_ROOM = 1.25
"""Less room is not worth joining the pieces once more."""
_NUMBERS = {each.column for each in DIMENSIONS.values() if each.is_number}


def read(batches: Iterable[pa.RecordBatch], fits: Fits, names: Sequence[str] = ATTRIBUTES) -> Frame:
    """Read the flows of an experiment.

    Args:
        batches: of flows, in the order of time.
        fits: asked as they grow.
        names: those of their columns that belong to a conversation.

    Returns:
        The experiment; only its first seconds if the others do not fit.
    """
    pieces, size, is_full = list[Frame](), 0, False
    for table in _some(batches):
        if is_full:
            frame = _joined(pieces)
            return Frame(frame.columns, frame.flows.without_last_second(), is_whole=False)
        pieces.append(_encoded(table, names))
        another = pieces[-1].nbytes
        size += another
        if not fits(size + another):
            pieces = [_joined(pieces)]  # each piece has values of its own
            size = pieces[0].nbytes
            is_full = not fits((size + another) * _ROOM)
    return _joined(pieces) if pieces else _encoded(schema_of(FLOWS, READ).empty_table(), names)


def described(frame: Frame, batches: Iterable[pa.RecordBatch], fits: Fits) -> Frame | None:
    """Return an experiment with what is said of each conversation.

    Args:
        frame: read with the columns KEY alone.
        batches: with the columns ATTRIBUTES, each distinct row once, in any order.
        fits: asked as they grow.

    Returns:
        None if flows of a conversation differ in what is said of it, if something came or went
        meanwhile, or if it does not fit: read all columns of all flows then.
    """
    pieces, size = list[Mapping[str, Column]](), frame.nbytes
    for table in _some(batches):
        pieces.append({name: Column.of(_values(table, name)) for name in ATTRIBUTES})
        size += sum(column.nbytes for column in pieces[-1].values())
        if not fits(size):
            return None
    if not pieces:
        return None
    columns = {name: Column.joined([piece[name] for piece in pieces]) for name in ATTRIBUTES}
    count = frame.conversations
    both = [Column.joined([frame.columns[name], columns[name]]) for name in KEY]
    firsts, of = distinct(both)
    own, rows = of[:count], of[count:]
    places = np.full(len(firsts), -1, np.int64)
    places[rows] = np.arange(len(rows))
    if len(np.unique(rows)) < len(rows) or np.any(places[own] < 0):
        return None
    found = {name: column.at(places[own]) for name, column in columns.items()}
    return Frame(found, frame.flows, frame.is_whole)


def _some(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held, rows = list[pa.RecordBatch](), 0
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            held.append(batch.slice(start, _ROWS))
            rows += held[-1].num_rows
            if rows >= _ROWS:
                yield pa.Table.from_batches(held).combine_chunks()
                held, rows = [], 0
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


def _encoded(table: pa.Table, names: Sequence[str]) -> Frame:
    columns = {name: Column.of(_values(table, name)) for name in names}
    firsts, of = _rows(columns)
    ts, first, last = (np.asarray(table[name].cast(pa.int64())) for name in _TIMES)
    second = ts // SECOND
    sums = {name: narrow(table[column].fill_null(0)) for name, column in _SUMS.items()}
    flows = Flows(
        second,
        narrow(of),
        (first - second * SECOND).astype(np.int32),
        (last - second * SECOND).astype(np.int32),
        **sums,
    )
    return Frame({name: column.at(firsts) for name, column in columns.items()}, flows)


def _values(table: pa.Table, name: str) -> pa.Array:
    column = table[name].combine_chunks()
    return column.cast(pa.string()) if name in _NUMBERS else column


def _joined(pieces: Sequence[Frame]) -> Frame:
    if len(pieces) == 1:
        return pieces[0]
    columns = {
        name: Column.joined([piece.columns[name] for piece in pieces]) for name in pieces[0].columns
    }
    firsts, places = _rows(columns)
    starts = np.cumsum([0, *(piece.conversations for piece in pieces)])
    of = [
        places[piece.flows.conversation.astype(np.int64) + start]
        for piece, start in zip(pieces, starts[:-1], strict=True)
    ]
    every = {
        name: np.concatenate([getattr(piece.flows, name) for piece in pieces])
        for name in vars(pieces[0].flows)
    }
    flows = Flows(**{**every, "conversation": narrow(np.concatenate(of))})
    return Frame({name: column.at(firsts) for name, column in columns.items()}, flows)


def _rows(columns: Mapping[str, Column]) -> tuple[Integers, Integers]:
    """Return the first row of each conversation, and which one each row is of.

    Rows that differ in anything else are kept apart, so that no number depends on whether a
    conversation keeps its values in all its seconds.
    """
    return distinct([columns["capture"], columns["conversation"], *columns.values()])


def named(frame: Frame, experiment: str) -> Frame:
    """Return an experiment with its name as a column."""
    one = np.ones(frame.conversations, np.uint8)
    name = Column(one, pa.array([None, experiment], pa.string()))
    return Frame({**frame.columns, "experiment": name}, frame.flows, frame.is_whole)
