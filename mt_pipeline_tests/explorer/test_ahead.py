"""What is begun ahead is fetched meanwhile, one batch of it, and what goes wrong is not lost."""

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from mt_pipeline.explorer.ahead import begun


def batch(number: int) -> pa.RecordBatch:
    return pa.record_batch({"number": [number]})


def test_the_first_batch_is_fetched_while_something_else_is_read_and_the_others_are_not():
    fetched, is_waiting = list[int](), threading.Event()

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            fetched.append(number)
            is_waiting.set()
            yield batch(number)

    with begun(batches()) as found:
        assert is_waiting.wait(60)
        first = next(found)
        assert fetched == [0]
        rest = list(found)

    assert [first, *rest] == [batch(0), batch(1), batch(2)]


def test_nothing_is_nothing():
    with begun(iter(())) as found:
        assert list(found) == []


def test_an_error_is_raised_where_the_batches_are_read():
    def broken() -> Iterator[pa.RecordBatch]:
        raise ConnectionError("away")
        yield

    with begun(broken()) as found, pytest.raises(ConnectionError, match="away"):
        next(found)


def test_whoever_fails_before_is_not_hidden():
    def broken() -> Iterator[pa.RecordBatch]:
        raise ConnectionError("away")
        yield

    with pytest.raises(LookupError), begun(broken()):
        raise LookupError
