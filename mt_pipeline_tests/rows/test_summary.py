"""The summary of a capture: sums made while its flows are loaded equal those of QuestDB."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from mt_pipeline.backends.loads import Load
from mt_pipeline.backends.questdb import loader
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline.rows.summary import MOST, CaptureSummary, Summarizer
from mt_pipeline_tests.backends.questdb.parts import (
    SERVER,
    START,
    files_of,
    packet,
    packets,
    select,
)

COLUMNS = ("app_tag", "tls_sni", "geo_country", "protocol")


def summary_of(
    database: Database, frames: list, *, experiment: str, parts: int, answers: dict | None = None
) -> CaptureSummary:
    """Load a capture, and return its summary."""
    summarizer, capture = Summarizer(COLUMNS), f"{experiment}/a.pcap"
    with (
        files_of(frames, answers) as files,
        closing(rows(files, capture=capture, experiment=experiment)) as of_packets,
    ):
        of_flows = summarizer.pass_on(flows(files, capture=capture, experiment=experiment))
        loader.load(database, [Load(capture, experiment, of_packets, of_flows)])
    return summarizer.summary(parts=parts)


def test_it_is_what_questdb_says(database: Database):
    frames = [
        packet(
            number,
            tcp_stream=str(number % 40),
            tcp_srcport=str(1000 + number % 40),
            frame_len=str(60 + number % 7),
            frame_time_epoch=f"{START + number // 3}.25",
            tls_handshake_extensions_server_name=f"{number % 40}.example"
            if number % 40 < 25
            else None,
            ip_dst=SERVER if number % 2 else "192.168.1.9",
        )
        for number in range(1, 400)
    ]
    answers = {
        ("address", SERVER): {"geo_country": "IT"},
        ("name", "7.example"): {"app_tag": "seven"},
    }

    summary = summary_of(database, frames, experiment="story", parts=10, answers=answers)

    source = "FROM flows_story"
    size = "sum(bytes_out + bytes_in)"
    [(out, into, count)] = select(
        database, f"SELECT sum(bytes_out), sum(bytes_in), sum(packets_out + packets_in) {source}"
    )
    assert (
        (summary.bytes_out, summary.bytes_in, summary.packets)
        == (out, into, count)
        == (out, into, 399)
    )
    [(public,)] = select(database, f"SELECT {size} {source} WHERE direction = 'outside'")
    [(unnamed,)] = select(
        database, f"SELECT {size} {source} WHERE direction = 'outside' AND app_tag IS NULL"
    )
    assert 0 < unnamed < public < out + into
    assert (summary.public_bytes, summary.unnamed_bytes) == (public, unnamed)
    start = datetime.fromtimestamp(START, UTC)
    assert (summary.first, summary.last) == (
        start + timedelta(seconds=0.25),
        start + timedelta(seconds=133.25),
    )
    seconds = select(
        database,
        f"SELECT datediff('s', '{start:%Y-%m-%dT%H:%M:%S}.000000Z', ts), "
        f"sum(bytes_out), sum(bytes_in) {source}",
    )
    by_part = [
        [(sent, got) for second, sent, got in seconds if second // 14 == part] for part in range(10)
    ]
    assert list(summary.over_time) == [
        (sum(sent for sent, _ in part), sum(got for _, got in part)) for part in by_part
    ]
    assert all(out for out, _ in summary.over_time)
    for column in COLUMNS:
        query = f"""SELECT * FROM (SELECT {column} value, {size} bytes {source}
            WHERE {column} IS NOT NULL GROUP BY value) ORDER BY bytes DESC, value"""
        values = select(database, query)
        assert summary.most[column] == values[:MOST]
        assert (column == "tls_sni") is (len(values) > MOST)


def test_a_year_without_packets_is_left_out(database: Database):
    """Regression: two minutes in a year were two lines in an empty chart."""
    year = 365 * 86_400
    frames = [
        packet(number, frame_time_epoch=f"{START + number + (year if number > 60 else 0)}.5")
        for number in range(1, 121)
    ]

    summary = summary_of(database, frames, experiment="story_of_years", parts=48)

    assert (len(summary.over_time), summary.part_seconds, list(summary.gaps)) == (41, 3, [year])
    sums = [sum(part) for part in summary.over_time]
    assert [place for place, size in enumerate(sums) if not size] == [20], (
        "an empty part stands for the gap"
    )
    assert len({size for size in sums if size}) == 1
    assert sum(sums) == summary.bytes_out + summary.bytes_in


def test_of_many_gaps_none_is_left_out(database: Database):
    frames = [
        packet(number, frame_time_epoch=f"{START + number * 86_400}.5") for number in range(1, 21)
    ]

    summary = summary_of(database, frames, experiment="story_of_days", parts=48)

    assert (summary.gaps, len(summary.over_time)) == ([], 48)
    assert sum(map(bool, (sum(part) for part in summary.over_time))) == 20


def test_a_capture_without_packets_has_none(database: Database):
    assert summary_of(database, [], experiment="no_story", parts=10) == CaptureSummary()


def test_batches_are_passed_on_as_they_are():
    with files_of(packets(3)) as files:
        batches = list(flows(files, capture="x/x.pcap", experiment="x"))
    assert [*Summarizer(COLUMNS).pass_on(iter(batches))] == batches
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)
