"""Whether the packets of a capture lie in the order of their times: mirror ports, several interfaces and merged files mix them up.

They are only counted: a row has its own time, so their order in the file changes nothing in the table.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet


def out_of_order(packets: Path) -> int:
    """Count the typed packets whose time is before that of the packet before them; those without a time are passed over."""
    late, last = 0, np.empty(0, np.int64)
    with pyarrow.parquet.ParquetFile(packets) as file:
        for batch in file.iter_batches(columns=["ts"]):
            times = batch.column(0).drop_null().cast(pa.int64()).to_numpy()
            late += int(np.count_nonzero(np.diff(np.concatenate([last, times])) < 0))
            last = times[-1:] if len(times) else last
    return late
