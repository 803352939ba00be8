"""Begins to fetch what is read later, so that a back end works on it meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def begun(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Fetch the first batch in a thread; the others wait until they are asked for.

    So no more than one is held, however many there are.
    """
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, batches, None)

        def every() -> Iterator[pa.RecordBatch]:
            batch = first.result()
            while batch is not None:
                yield batch
                batch = next(batches, None)

        yield every()
