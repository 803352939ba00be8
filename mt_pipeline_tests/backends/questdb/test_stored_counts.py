"""Stored counts include the rows that reached the disk, and no others, also after a kill."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_pipeline.backends.loads import Damaged, LoadFailed
from mt_pipeline.backends.questdb.stored_counts import stored_counts
from mt_pipeline_tests.backends.questdb.parts import START, frames, load, packets
from mt_pipeline_tests.soaking.servers import Spare


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Spare]:
    server = Spare(tmp_path / "questdb", user="admin", password="quest")
    yield server
    server.stop()


def rows(spare: Spare) -> dict[str, int]:
    return {key: numbers.rows for key, numbers in stored_counts(spare.database).items()}


def test_rows_that_were_acknowledged_before_a_kill_count_as_soon_as_the_server_answers_again(
    spare: Spare,
):
    load(spare.database, packets(3), capture="killed/a.pcap", experiment="killed")
    with spare.database.connect() as connection:
        connection.execute("ALTER TABLE captured_packets SUSPEND WAL")
    with pytest.raises(LoadFailed):
        load(spare.database, packets(20_000), capture="killed/b.pcap", experiment="killed")
    with pytest.raises(LoadFailed, match="RESUME WAL"):
        stored_counts(spare.database)

    spare.kill()
    spare.start_again()

    assert rows(spare) == {"killed/a.pcap": 3, "killed/b.pcap": 20_000}


def test_a_view_whose_files_a_power_cut_took_is_made_again(spare: Spare, tmp_path: Path):
    load(spare.database, packets(3), capture="torn/a.pcap", experiment="torn")
    spare.kill()
    (folder,) = (tmp_path / "questdb" / "db").glob("packets_torn~*")
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        os.truncate(file, 0)
    spare.start_again()

    assert load(spare.database, packets(4), capture="torn/a.pcap", experiment="torn").rows == 4
    assert len(frames(spare.database, "torn")) == 4


def test_months_whose_files_lost_pages_are_named_with_the_cure_and_can_be_loaded_again(
    spare: Spare, tmp_path: Path
):
    months = ["2023-11", "2023-12", "2024-01"]
    for number in range(3):
        again = packets(2_000, frame_time_epoch=f"{START + number * 31 * 86_400}.5")
        load(spare.database, again, capture=f"cut/{number}.pcap", experiment="cut")
    spare.kill()
    for month, column in zip(months[1:], ("frame_len", "port_src"), strict=True):
        (file,) = (tmp_path / "questdb" / "db").glob(f"captured_packets~*/{month}*/{column}.d")
        with file.open("rb+") as values:
            values.truncate(100)
    spare.start_again()

    with pytest.raises(
        Damaged,
        match="of 1 partitions of captured_packets: run "
        f"`ALTER TABLE captured_packets DROP PARTITION LIST '{months[1]}'`",
    ):
        stored_counts(spare.database)
    cure = f"ALTER TABLE captured_packets DROP PARTITION LIST '{months[1]}', '{months[2]}'"
    with pytest.raises(Damaged, match=f"of 2 partitions of captured_packets: run `{cure}`"):
        stored_counts(spare.database, thorough=True)
    with spare.database.connect() as connection:
        connection.execute(cure)
    assert rows(spare) == {"cut/0.pcap": 2_000}
    assert load(spare.database, again, capture="cut/2.pcap", experiment="cut").rows == 2_000
    assert rows(spare) == {"cut/0.pcap": 2_000, "cut/2.pcap": 2_000}
