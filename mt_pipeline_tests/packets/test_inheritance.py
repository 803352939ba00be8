"""What packets said in one file of a rotation, in the next ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.packets import inheritance
from mt_pipeline.packets.inheritance import inherit, leave

HOUR = 3_600_000_000
Row = Mapping[str, object]


def answer(hour: float, name: str = "a.example", *, client: str | None = "10.0.0.2") -> Row:
    return {
        "time_us": int(hour * HOUR),
        "frame_number": 7,
        "client": client,
        "name": name,
        "canonical": None,
        "address": "9.9.9.9",
    }


def said(hour: float, kind: str, text: str) -> Row:
    return {
        "hardware": "44:65:0d:a1:b2:c3",
        "kind": kind,
        "text": text,
        "time_us": int(hour * HOUR),
        "frame_number": 7,
    }


def written(path: Path, rows: Sequence[Row]) -> Path:
    columns = answer(0) if not rows else rows[0]
    types = {int: pa.int64(), str: pa.string(), type(None): pa.string()}
    schema = pa.schema([(name, types[type(value)]) for name, value in columns.items()])
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return path


def left(folder: Path, kind: str, rows: Sequence[Row]) -> list[Row]:
    leave(kind, written(folder / "known", rows), folder / "left")
    return pq.read_table(folder / "left").to_pylist()


def test_an_answer_is_handed_on_for_a_day_after_it_was_given_last(tmp_path: Path):
    rows = [answer(0, "old.example"), answer(0), answer(20), answer(25, client=None), answer(25)]
    assert left(tmp_path, "lookups", rows) == [
        answer(25, client="10.0.0.2") | {"frame_number": 0},
        answer(25, client=None) | {"frame_number": 0},
    ]


def test_names_of_devices_are_handed_on_and_their_addresses_are_not(tmp_path: Path):
    rows = [
        said(0, "address", "10.0.0.2"),
        said(1, "own_address", "10.0.0.2"),
        said(2, "dhcp", "echo"),
        said(90, "dhcp", "echo"),
    ]
    assert left(tmp_path, "announcements", rows) == [said(2, "dhcp", "echo") | {"frame_number": 0}]


def test_what_was_left_comes_before_what_the_file_says(tmp_path: Path):
    own = written(tmp_path / "own", [answer(2, "b.example")])
    before = written(tmp_path / "before", [answer(1, "a.example")])
    inherit(own, before, tmp_path / "known")
    assert pq.read_table(tmp_path / "known").to_pylist() == [
        answer(1, "a.example") | {"frame_number": 0},
        answer(2, "b.example"),
    ]
    inherit(own, tmp_path / "missing", tmp_path / "alone")
    assert pq.read_table(tmp_path / "alone").to_pylist() == [answer(2, "b.example")]


def test_only_the_latest_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inheritance, "_MOST", 2)
    rows = [answer(hour, f"n{hour}.example") for hour in range(5)]
    names = [row["name"] for row in left(tmp_path, "lookups", rows)]
    assert names == ["n4.example", "n3.example"]
