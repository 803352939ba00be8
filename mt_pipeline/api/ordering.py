"""Puts rows that are in the order of time into one order: by time, capture, number within it."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def in_order(batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Sort the rows of each moment, and yield all of them.

    Only the rows of one moment are held back.

    Args:
        batches: rows in the order of the first key.
        keys: names of the columns: the time first.
    """
    held = list[pa.RecordBatch]()
    for batch in batches:
        if not batch.num_rows:
            continue
        times = np.asarray(batch[keys[0]].cast(pa.int64()))
        if held:
            of_moment = int(
                np.searchsorted(times, held[0][keys[0]][0].cast(pa.int64()).as_py(), "right")
            )
            held.append(batch.slice(0, of_moment))
            if of_moment == batch.num_rows:
                continue
            yield from _sorted(held, keys)
            batch, times = batch.slice(of_moment), times[of_moment:]
        last = int(np.searchsorted(times, times[-1]))
        yield from _sorted([batch.slice(0, last)], keys)
        held = [batch.slice(last)]
    yield from _sorted(held, keys)


def _sorted(batches: list[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    batches = [batch for batch in batches if batch.num_rows]
    if not batches:
        return
    by = pa.Table.from_batches(batches).select(keys).combine_chunks()
    if _is_sorted(by, keys):
        yield from batches
        return
    order = pc.sort_indices(by, sort_keys=[(key, "ascending") for key in keys])
    yield from pa.Table.from_batches(batches).combine_chunks().take(order).to_batches()


def _is_sorted(table: pa.Table, keys: Sequence[str]) -> bool:
    """Return whether rows are in order already, as most often: a sort would move all columns."""
    after = np.zeros(max(table.num_rows - 1, 0), bool)
    same = ~after
    for key in keys:
        later, earlier = table[key].slice(1), table[key].slice(0, max(table.num_rows - 1, 0))
        after |= same & np.asarray(pc.greater(later, earlier).fill_null(False))
        same &= np.asarray(pc.equal(later, earlier).fill_null(False))
    return bool(np.all(after | same))
