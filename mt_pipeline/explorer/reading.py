"""Rows of flows become an experiment in memory, some at a time, so that little else is held."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from mt_pipeline.explorer.columns import SECOND, Column, Flows, Frame, Integers, distinct, narrow
from mt_pipeline.explorer.dimensions import DIMENSIONS

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

READ: Sequence[str] = (*_TIMES, *_SUMS.values(), *ATTRIBUTES)
"""Columns of flows that are read."""

Fits: TypeAlias = Callable[[float], bool]
"""Returns whether so many bytes may be held."""

_ROWS = 200_000
"""Rows that are held before they are encoded."""
_ROOM = 1.25
"""Less room is not worth joining the pieces once more."""
_NUMBERS = {each.column for each in DIMENSIONS.values() if each.is_number}


def read(
    batches: Iterable[pa.RecordBatch], experiment: str, fits: Callable[[float], bool]
) -> Frame:
    """Read the flows of an experiment.

    Args:
        batches: with the columns READ, in the order of time.
        experiment: its name.
        fits: asked as they grow.

    Returns:
        The experiment; only its first seconds if the others do not fit.
    """
    pieces, size, is_full = list[Frame](), 0, False
    for table in _some(batches):
        if is_full:
            frame = _named(_joined(pieces), experiment)
            return Frame(frame.columns, frame.flows.without_last_second(), is_whole=False)
        pieces.append(_encoded(table))
        another = pieces[-1].nbytes
        size += another
        if not fits(size + another):
            pieces = [_joined(pieces)]  # each piece has values of its own
            size = pieces[0].nbytes
            is_full = not fits((size + another) * _ROOM)
    return _named(_joined(pieces), experiment)


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


def _encoded(table: pa.Table) -> Frame:
    columns = {name: Column.of(_values(table, name)) for name in ATTRIBUTES}
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
    if not pieces:
        schema = pa.schema([(name, pa.string()) for name in ATTRIBUTES])
        nothing = np.zeros(0, np.int64)
        empty = {name: Column.of(pa.array([], schema.field(name).type)) for name in ATTRIBUTES}
        return Frame(empty, Flows(*[nothing] * 8))
    if len(pieces) == 1:
        return pieces[0]
    columns = {
        name: Column.joined([piece.columns[name] for piece in pieces]) for name in ATTRIBUTES
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


def _named(frame: Frame, experiment: str) -> Frame:
    one = np.ones(frame.conversations, np.uint8)
    name = Column(one, pa.array([None, experiment], pa.string()))
    return Frame({**frame.columns, "experiment": name}, frame.flows)
