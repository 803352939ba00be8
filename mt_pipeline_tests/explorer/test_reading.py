"""Flows become columns: each value once, and nothing is lost if a conversation changes its mind."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from mt_pipeline.api.columns import schema_of
from mt_pipeline.explorer import reading
from mt_pipeline.explorer.frame import Frame
from mt_pipeline.explorer.reading import ATTRIBUTES, KEY, NUMBERS, READ, described, named, read
from mt_pipeline.explorer.selection import select
from mt_pipeline.explorer.state import Filter, View
from mt_pipeline.schema.tables import FLOWS

SECOND = 1_700_000_000


def flow(second: int, conversation: int, app: str | None, sent: int = 10) -> dict[str, object]:
    moment = (SECOND + second) * 10**6
    return {
        "ts": moment,
        "first_ts": moment + 5,
        "last_ts": moment + 7,
        "capture": "x/a.pcap",
        "conversation": conversation,
        "app_tag": app,
        "packets_out": 1,
        "packets_in": 2,
        "bytes_out": sent,
        "bytes_in": 1,
    }


def batches(rows: Sequence[dict[str, object]], names: Sequence[str]) -> list[pa.RecordBatch]:
    schema = schema_of(FLOWS, names)
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema).to_batches()


def both(rows: Sequence[dict[str, object]]) -> Frame | None:
    """Read flows, and what is said of conversations, apart from each other."""
    said = {tuple(row.get(name) for name in ATTRIBUTES): row for row in rows}
    frame = read(batches(rows, NUMBERS), lambda _: True, KEY)
    return described(frame, batches(list(said.values()), ATTRIBUTES), lambda _: True)


def sums(frame: Frame, app: str | None) -> tuple[float, float, float]:
    whole = select(frame, View(("x",), (Filter("app", True, app),))).whole
    return whole.sent[0], whole.packets[0], whole.conversations[0]


@pytest.mark.parametrize("at_once", [2, 100])
def test_both_ways_of_reading_give_the_same(monkeypatch: pytest.MonkeyPatch, at_once: int):
    monkeypatch.setattr(reading, "_ROWS", at_once)
    rows = [flow(second, second % 3, ["a", "b", None][second % 3]) for second in range(9)]
    apart, whole = both(rows), read(batches(rows, READ), lambda _: True)

    assert apart is not None
    for frame in (named(apart, "x"), named(whole, "x")):
        assert frame.conversations == 3
        assert [sums(frame, app) for app in ("a", "b", None)] == [(30, 9, 1)] * 3


def test_a_conversation_of_which_two_things_are_said_counts_for_each_and_once_in_all():
    rows = [flow(0, 1, "a"), flow(1, 1, "b"), flow(2, 2, "a")]
    assert both(rows) is None

    frame = named(read(batches(rows, READ), lambda _: True), "x")
    assert sums(frame, "a") == (20, 6, 2)
    assert sums(frame, "b") == (10, 3, 1)
    assert select(frame, View(("x",))).whole.conversations[0] == 2


def test_what_came_meanwhile_is_noticed():
    frame = read(batches([flow(0, 1, "a"), flow(1, 2, "a")], NUMBERS), lambda _: True, KEY)

    assert described(frame, batches([flow(0, 1, "a")], ATTRIBUTES), lambda _: True) is None
    assert described(frame, [], lambda _: True) is None


def test_an_experiment_without_flows_is_empty():
    frame = named(read([], lambda _: True), "x")

    assert frame.conversations == 0
    assert select(frame, View(("x",), conversation=1)).whole.packets[0] == 0


def test_sums_beyond_32_bits_are_exact():
    rows = [flow(second, second, "a", sent=2**40 + 1) for second in range(5)]
    frame = named(read(batches(rows, READ), lambda _: True), "x")

    assert sums(frame, "a")[0] == 5 * (2**40 + 1)
