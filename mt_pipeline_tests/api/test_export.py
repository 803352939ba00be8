"""Files of rows: the same in each format, whole or not there, harmless in a spreadsheet."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from mt_pipeline.api import export
from mt_pipeline.api.columns import schema_of
from mt_pipeline.api.rows import Rows
from mt_pipeline.schema.tables import FLOWS

COLUMNS = ("ts", "tls_sni", "remote", "bytes_in", "geo_lon", "port_local")
TIME = 1_700_000_000_123_456


def rows_of(*names: str | None) -> Rows:
    schema = schema_of(FLOWS, COLUMNS)
    count = len(names)
    columns = [
        [TIME] * count,
        names,
        ["fe80::1"] * count,
        [-5] * count,
        [-0.5] * count,
        [None] * count,
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return Rows.of(pa.Table.from_arrays(arrays, schema=schema))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("plain.example.com", "plain.example.com"),
        ('=HYPERLINK("http://evil")', '\'=HYPERLINK("http://evil")'),
        ("+1", "'+1"),
        ("-1+2", "'-1+2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("\t=1+1", "'\t=1+1"),
        ("\r\nx", "'\r\nx"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("'=1", "''=1"),
        ("a=b", "a=b"),
        ("it's", "it's"),
        ('a,"b";c\nd', 'a,"b";c\nd'),
        (None, ""),
        ("(none)", "(none)"),
        ("__proto__", "__proto__"),
        ("\u202eevil", "\u202eevil"),
    ],
)
def test_a_cell_of_csv_is_no_formula_and_can_be_read_back(
    tmp_path: Path, name: str | None, cell: str
):
    output = tmp_path / "a.csv"

    assert export.write(rows_of(name), output, {}) == 1

    with output.open(newline="", encoding="utf-8") as file:
        head, row = csv.reader(file)
    assert tuple(head) == COLUMNS
    assert row == ["2023-11-14T22:13:20.123456Z", cell, "fe80::1", "-5", "-0.5", ""]
    assert row[1].removeprefix("'") == (name or "")


def test_every_format_has_the_same_rows(tmp_path: Path):
    names = ("a", None, "=1", "q\"uo'te", "ü🙂", "\u202e", "line\nbreak")
    made = {"version": "x", "captures": [{"capture": "k/ü.pcap", "sha256": "ab"}]}
    for ending in ("parquet", "jsonl"):
        assert export.write(rows_of(*names), tmp_path / f"a.{ending}", made) == len(names)

    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().split("\n")[:-1]]

    assert table.replace_schema_metadata().equals(rows_of(*names).arrow())
    assert json.loads(table.schema.metadata[export.METADATA]) == made
    assert [line["tls_sni"] for line in lines] == list(names)
    assert lines[0] == {
        "ts": "2023-11-14T22:13:20.123456Z",
        "tls_sni": "a",
        "remote": "fe80::1",
        "bytes_in": -5,
        "geo_lon": -0.5,
        "port_local": None,
    }


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_file_is_whole_or_not_there(tmp_path: Path, ending: str):
    schema = schema_of(FLOWS, COLUMNS)

    def broken() -> Iterator[pa.RecordBatch]:
        yield from rows_of("a", "b").batches()
        raise OSError(5, "the back end went away")

    with pytest.raises(Exception, match="the back end went away"):
        export.write(Rows(schema, broken), tmp_path / f"a.{ending}", {})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_an_answer_without_rows_is_a_file_without_rows(tmp_path: Path, ending: str):
    assert export.write(rows_of(), tmp_path / f"a.{ending}", {}) == 0
    assert (tmp_path / f"a.{ending}").exists()


def test_a_file_that_exists_is_replaced_only_if_that_is_said(tmp_path: Path):
    output = tmp_path / "a.csv"
    output.write_text("mine")

    with pytest.raises(FileExistsError):
        export.write(rows_of("a"), output, {})
    assert output.read_text() == "mine"

    export.write(rows_of("a"), output, {}, replace=True)
    assert "example" not in output.read_text()


def test_an_ending_that_is_no_format_is_refused(tmp_path: Path):
    with pytest.raises(export.FormatError, match=r"must end with one of \.csv, \.parquet, \.jsonl"):
        export.write(rows_of("a"), tmp_path / "a.xlsx", {})
