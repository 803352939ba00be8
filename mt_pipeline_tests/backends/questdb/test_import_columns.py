"""What of a column is in the file, and what is in the statement."""

import pyarrow as pa
import pytest

from mt_pipeline.backends.questdb.import_columns import ImportColumn, import_columns
from mt_pipeline.schema.tables import Table

_TABLE = Table("t", {"ts": "TIMESTAMP", "name": "SYMBOL"}, keys=("ts",))


def columns(*names: str | None) -> dict[str, ImportColumn]:
    times = pa.array(range(len(names)), pa.timestamp("us"))
    batch = pa.record_batch({"ts": times, "name": pa.array(names, pa.string()).dictionary_encode()})
    return {column.name: column for column in import_columns(_TABLE, batch)}


def test_a_column_without_values_is_left_out():
    assert list(columns(None, None)) == ["ts"]


def test_a_text_that_all_rows_have_is_in_the_statement_alone():
    column = columns("Unknown", "Unknown")["name"]
    assert column.expression.as_string() == "'Unknown'"
    assert column.values is None


def test_few_texts_of_many_rows_are_in_the_statement_and_the_file_has_their_numbers():
    column = columns(*["aa", "bb", None] * 200)["name"]
    assert column.expression.as_string() == """CASE "name" WHEN 0 THEN 'aa' WHEN 1 THEN 'bb' END"""
    assert column.values is not None
    assert column.values.to_pylist() == [0, 1, 2] * 200
    assert not column.is_text


@pytest.mark.parametrize(
    "names",
    [
        ["aa", "bb"],
        ["a", "a"],
        ["it's", "it's"],
        ["a\\b", "a\\b"],
        ["a\nb", "a\nb"],
        ["x" * 10_001] * 2,
    ],
    ids=["too few rows", "character", "quote", "backslash", "control character", "too long"],
)
def test_other_texts_are_in_the_file(names: list[str]):
    column = columns(*names)["name"]
    assert column.expression.as_string() == """nullif("name", '')"""
    assert column.values is not None
    assert column.values.to_pylist() == names
    assert column.is_text
