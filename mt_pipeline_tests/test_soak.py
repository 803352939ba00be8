"""The faults of `make soak` that no test of a room covers, over few captures.

And a test that the comparison can find a difference.
"""

from pathlib import Path

from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.cli.test_ingest import Terminal
from mt_pipeline_tests.pipelines import Lab, Result
from mt_pipeline_tests.soaking import archive, decade, faults, power


def test_a_questdb_that_is_away_in_a_backfill_is_waited_for_and_no_row_is_lost(tmp_path: Path):
    assert faults.outage(tmp_path, captures=6, seconds=3) == []


def test_on_a_busy_machine_no_run_is_shown_as_failed_and_no_capture_is_read_twice(tmp_path: Path):
    """Under load live runs were declared dead: 32 of 47 captures were ingested twice."""
    assert faults.busy(tmp_path, captures=4, loops=2) == []


def test_after_a_power_cut_that_empties_the_tables_what_is_said_brings_every_row_back(
    tmp_path: Path,
):
    assert power.emptied(tmp_path, captures=2) == []


def test_ten_years_of_captures_take_few_files_and_little_memory(tmp_path: Path):
    assert decade.ten_years(tmp_path, captures=10) == []


def test_four_processes_write_their_events_into_the_database_of_dagster(tmp_path: Path):
    assert faults.events(tmp_path, count=40) == []


def test_a_capture_that_has_other_packets_than_it_should_is_found(terminal: Terminal, lab: Lab):
    expected = archive.write(lab.inbox, "soaked", 2)
    assert terminal("ingest", lab.inbox / "soaked").code == 0
    assert archive.differences(lab.database, expected) == []

    key = "soaked/00001.pcap"
    write_pcap(lab.inbox / key, timed(dns()))
    assert terminal("ingest", lab.inbox / key) == Result(
        0, f"{key}: 2 packets, 2 rows in packets_soaked\n", ""
    )
    assert [line.partition(":")[0] for line in archive.differences(lab.database, expected)] == [
        key,
        key,
    ]
