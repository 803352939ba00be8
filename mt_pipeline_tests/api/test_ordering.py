"""Rows of one moment are sorted, however they are cut into batches."""

import random

import pyarrow as pa
import pytest

from mt_pipeline.api.ordering import in_order


@pytest.mark.parametrize("seed", range(20))
def test_batches_in_order_of_time_come_out_wholly_sorted(seed: int):
    chance = random.Random(seed)  # noqa: S311
    rows = [
        (chance.randrange(1 + seed * 3), chance.choice("abc"), chance.randrange(20))
        for _ in range(200)
    ]
    by_time = sorted(rows, key=lambda row: row[0])
    schema = pa.schema([("ts", pa.timestamp("us", "UTC")), ("c", pa.string()), ("n", pa.int32())])
    batches, start = [], 0
    while start < len(rows):
        size = chance.randrange(0, 30)
        part = by_time[start : start + size]
        columns = list(zip(*part, strict=True)) or [[], [], []]
        batches.append(
            pa.record_batch(
                [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema
            )
        )
        start += size

    found = [
        (int(time.timestamp() * 10**6 + 0.5), name, number)
        for batch in in_order(iter(batches), ["ts", "c", "n"])
        for time, name, number in zip(
            *[column.to_pylist() for column in batch.columns], strict=True
        )
    ]

    assert found == sorted(rows)
