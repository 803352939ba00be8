"""Packets whose time is before that of the packet before them."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from mt_pipeline.packets.typed import out_of_order
from mt_pipeline_tests.building.files import Frame, write_pcapng
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.packets.parts import picked, rows_of, typed_of
from mt_pipeline_tests.tshark.parts import documents_of


@pytest.mark.parametrize(
    ("times", "late"),
    [
        ([], 0),
        ([1], 0),
        ([1, 1, 2], 0),
        ([1, 3, 2], 1),
        ([3, 2, 1], 2),
        ([5, 1, 2, 3], 1),
        ([2, None, 1], 1),
        ([None, 1, None, None, 2], 0),
    ],
)
@pytest.mark.parametrize("of_a_group", [1, 2, 100])
def test_each_step_back_is_counted_once_wherever_a_row_group_ends(
    tmp_path: Path, times: list[int | None], late: int, of_a_group: int
):
    table = pa.table({"ts": pa.array(times, pa.timestamp("us"))})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", row_group_size=of_a_group)

    assert out_of_order(tmp_path / "x.parquet") == late


def test_packets_of_any_day_and_year_in_any_order_all_become_rows_with_their_own_times(
    tmp_path: Path,
):
    days = [
        datetime(2031, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=UTC),
    ]
    seconds = [int(day.timestamp()) for day in days for _ in range(2)]
    frame = dns()[0]  # the same bytes each time, as a mirror port makes them
    documents = documents_of(
        write_pcapng(tmp_path / "a.pcapng", [Frame(frame, second * 10**9) for second in seconds])
    )

    assert picked(rows_of(documents), "frame_number", "ts") == [
        (number, second * 10**6) for number, second in enumerate(seconds, 1)
    ]
    packets, _ = typed_of(documents)
    assert out_of_order(packets) == 1, "2024 comes after 1999"
