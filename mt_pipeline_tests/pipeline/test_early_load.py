"""A large capture is loaded while tshark still reads it, and its rows are those of any load."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from mt_pipeline.backends.loads import Unreachable
from mt_pipeline.backends.questdb.early_rows import EarlyRows
from mt_pipeline.captures.records import State
from mt_pipeline.enrichment.chain import SCHEMA
from mt_pipeline.pipeline import early_load
from mt_pipeline.pipeline.batch import Limits, run_captures
from mt_pipeline.pipeline.failures import Failed
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.rows.early import Early
from mt_pipeline.rows.packets import rows
from mt_pipeline.rows.sources import Sources
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.tshark import conversion
from mt_pipeline_tests.backends.questdb.parts import files_of, packets, select
from mt_pipeline_tests.building.devices import asks_dhcp, host, says_mdns
from mt_pipeline_tests.building.everything import everything, odd_times
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import (
    CLIENT_MAC,
    dns,
    quic_session,
    tls_session,
    udp_exchange,
)
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.observers import Memory
from mt_pipeline_tests.pipelines import Lab, environment, wrapper

EVERY_COLUMN = [column.name for column in COLUMNS if column.name not in ("capture", "experiment")]


class Sent(list[pa.RecordBatch]):
    """The batches that were sent early."""

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Have small blocks sent early, none of them left to the load, and record them."""
    monkeypatch.setattr(conversion, "_BLOCK_BYTES", 4_000)
    monkeypatch.setattr(early_load, "_BATCH_ROWS", 20)
    monkeypatch.setattr(early_load, "_WAITING", 1_000)
    batches, send = Sent(), EarlyRows.send

    def remembered(rows: EarlyRows, batch: pa.RecordBatch) -> None:
        send(rows, batch)
        batches.append(batch)

    monkeypatch.setattr(EarlyRows, "send", remembered)
    return batches


def long_streams(path: Path) -> Path:
    """Write streams whose names come late, change, or are those of others that came before."""
    conversations = [
        tls_session("www.netflix.com", data_packets=40),
        tls_session(
            "first.example.com",
            data_packets=30,
            second_name="second.example.com",
            client_port=50_001,
        ),
        tls_session(None, alpn=(), data_packets=10, client_port=50_002),
        tls_session("late.example.com", segments=4, data_packets=20, client_port=50_003),
        quic_session("www.youtube.com"),
        dns(),
    ]
    frames = [
        frame for turn in range(60) for each in conversations for frame in each[turn : turn + 1]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_pcap(path, timed(frames))


def named_late(path: Path) -> Path:
    """Write devices that say their names late, or share one, and a router that shows as one late.

    The vendor of a third device is all that is known of it from the beginning.
    """
    echo = says_mdns(host("echo.local"))
    before = tls_session("www.netflix.com", data_packets=60)
    passed_on = [
        frame
        for number in (2, 3)
        for frame in udp_exchange([(False, b"x")] * 9, server=f"10.0.0.{number}")
    ]
    frames = [
        *says_mdns(),
        *before[:20],
        *asks_dhcp("phone", mac=CLIENT_MAC),
        *before[20:40],
        *echo,
        *asks_dhcp("phone", mac="3c:22:fb:00:00:07"),
        *passed_on,
        *echo,
        *before[40:],
    ]
    return write_pcap(path, timed(frames))


def test_devices_that_say_their_names_late_have_them_on_all_packets(lab: Lab, sent: Sent):
    rows = both_ways(lab, "late_devices", named_late)
    place = EVERY_COLUMN.index("device_src")
    assert sent.rows > 60
    labels = [row[place] for row in rows]
    assert {*labels} == {"echo", "phone 00:00:20", "phone 00:00:07", None}
    assert "Amazon" in str(sent[0].column("device_src").to_pylist())


def run_of(
    lab: Lab, *keys: str, workspace: Workspace | None = None, early: bool = True
) -> list[Failed]:
    """Take captures through all stages, as large ones or as small ones."""
    limits = Limits(large=1 if early else 10**12)
    with Run(workspace or lab.workspace(), Memory(), id="run") as run:
        return run_captures(run, keys, limits=limits)


def both_ways(lab: Lab, name: str, write: Callable[[Path], Path]) -> list[tuple[object, ...]]:
    """Load a capture early, and another way; return its rows, which must be the same."""
    for way, early in (("early", True), ("whole", False)):
        path = lab.inbox / f"{name}_{way}" / "x.pcap"
        path.parent.mkdir(parents=True)
        write(path)
        assert run_of(lab, f"{name}_{way}/x.pcap", early=early) == []
    of_early, of_whole = (lab.rows(f"{name}_{way}", EVERY_COLUMN) for way in ("early", "whole"))
    assert of_early == of_whole
    return of_early


@pytest.mark.parametrize("waiting", [0, 1, 1_000])
@pytest.mark.parametrize("write", [everything, long_streams])
def test_rows_are_those_of_a_load_at_the_end(
    lab: Lab,
    sent: Sent,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], Path],
    waiting: int,
):
    monkeypatch.setattr(early_load, "_WAITING", waiting)

    of_early = both_ways(lab, f"{write.__name__}_{waiting}", write)

    assert len(of_early) > 100
    if waiting == 1_000:
        assert sent.rows > len(of_early) / 2
    if waiting == 0:
        assert not sent


def test_packets_that_cannot_be_stored_are_counted(lab: Lab, sent: Sent):
    key = "early_skipped/x.pcapng"
    path = lab.inbox / key
    path.parent.mkdir()
    odd_times(path, None)

    assert run_of(lab, key) == []

    record = lab.record(key)
    assert (record.packets, record.rows, record.skipped) == (2, 1, {"time not readable": 1})


def test_a_capture_that_has_rows_is_not_loaded_early(lab: Lab, sent: Sent):
    key = "early_again/x.pcap"
    long_streams(lab.inbox / key)
    assert run_of(lab, key) == []
    assert sent
    sent.clear()
    os.utime(lab.inbox / key, ns=(1, 1))

    assert run_of(lab, key) == []

    assert not sent


def test_packets_wait_for_what_a_provider_is_asked(
    lab: Lab, sent: Sent, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeNetify() as netify:
        workspace = lab.workspace(
            enrichment="netify", netify_api_key="k", netify_url=netify.url, netify_rate=1000
        )
        for name in ("early_asked", "early_known"):
            long_streams(lab.inbox / f"{name}/x.pcap")
            sent.clear()
            assert run_of(lab, f"{name}/x.pcap", workspace=workspace) == []
            address = {row["ip_dst"] for batch in sent for row in batch.to_pylist()}
            assert ("93.184.216.34" in address) == (name == "early_known")
        assert len(netify.asked()) == len(set(netify.asked()))
    of_asked, of_known = (lab.rows(name, EVERY_COLUMN) for name in ("early_asked", "early_known"))
    assert of_asked == of_known
    assert {row[EVERY_COLUMN.index("ip_dst_provider")] for row in of_known} > {"netify"}


def test_a_name_of_the_file_before_in_a_rotation_reaches_all_rows(lab: Lab, sent: Sent):
    frames = timed(tls_session("nas.local", data_packets=200))
    folder = lab.inbox / "early_rotation"
    folder.mkdir()
    names = [f"x_0000{number}_2023111422132{number}.pcap" for number in range(2)]
    for name, part in zip(names, (frames[:60], frames[60:]), strict=True):
        write_pcap(folder / name, part)

    keys = [f"early_rotation/{name}" for name in names]
    assert run_of(lab, *keys, workspace=lab.workspace(rotation=True)) == []

    assert sent.rows > 150
    found = lab.rows("early_rotation", ("tls_sni",))
    assert found == [("nas.local",)] * len(frames)


def test_a_capture_that_fails_leaves_no_row(lab: Lab, sent: Sent, tmp_path: Path):
    key = "early_fails/x.pcap"
    long_streams(lab.inbox / key)
    tshark = wrapper(tmp_path / "tshark", '"$TSHARK" "$@"; echo "tshark: broken" >&2; exit 7')

    [failed] = run_of(lab, key, workspace=lab.workspace(tshark=str(tshark)))

    assert failed.key == key
    assert sent
    assert lab.record(key).state is State.FAILED
    assert lab.rows("early_fails") == []


def test_no_row_is_sent_or_removed_once_the_lock_of_the_capture_is_lost(
    lab: Lab, sent: Sent, monkeypatch: pytest.MonkeyPatch
):
    key = "early_lost/x.pcap"
    long_streams(lab.inbox / key)
    send = EarlyRows.send

    def send_and_lose_the_lock(rows: EarlyRows, batch: pa.RecordBatch) -> None:
        send(rows, batch)
        for lock in (lab.data / "ledger.locks").iterdir():
            lock.unlink()

    monkeypatch.setattr(EarlyRows, "send", send_and_lose_the_lock)

    [failed] = run_of(lab, key)

    assert "its lock" in failed.reason
    assert len(sent) == 1
    assert len(lab.rows("early_lost")) == sent.rows
    assert lab.record(key).state is State.RUNNING


def test_a_back_end_that_goes_away_meanwhile_gets_all_rows_at_the_end(
    lab: Lab, sent: Sent, monkeypatch: pytest.MonkeyPatch
):
    send = EarlyRows.send

    def breaks(rows: EarlyRows, batch: pa.RecordBatch) -> None:
        if sent:
            raise Unreachable("it went away")
        send(rows, batch)

    monkeypatch.setattr(EarlyRows, "send", breaks)

    assert len(both_ways(lab, "early_away", long_streams)) > 100

    assert len(sent) == 1


def test_packets_of_many_months_wait_for_the_load(lab: Lab, sent: Sent):
    key = "early_months/x.pcap"
    path = lab.inbox / key
    path.parent.mkdir()
    month_ns = 31 * 86_400 * 10**9
    write_pcap(path, timed(dns() * 200, step_ns=month_ns // 10))

    assert run_of(lab, key) == []

    months = {month for batch in sent for month in map(month_of, batch.to_pylist())}
    assert 0 < len(months) <= 12
    assert len(lab.rows("early_months")) == 400


def month_of(row: dict[str, object]) -> str:
    return str(row["ts"])[:7]


SCRIPT = """
import sys
from mt_pipeline import settings
from mt_pipeline.pipeline import early_load
from mt_pipeline.pipeline.batch import Limits, run_captures
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.tshark import conversion
from mt_pipeline_tests.observers import Memory

conversion._BLOCK_BYTES, early_load._BATCH_ROWS = 4_000, 20
with Run(Workspace(settings.load().options()), Memory(), id="a script") as run:
    run_captures(run, sys.argv[1:], limits=Limits(large=1))
"""


def test_rows_are_seen_before_all_is_read_and_none_is_lost_by_a_kill(lab: Lab, tmp_path: Path):
    key = "early_killed/x.pcap"
    long_streams(lab.inbox / key)
    tshark = wrapper(tmp_path / "tshark", '"$TSHARK" "$@"; sleep 600')
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, key],
        env=environment(lab.settings(), MT_TSHARK=str(tshark)),
    ) as process:
        try:
            while not rows_seen(lab, "early_killed"):
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.kill()
    assert lab.record(key).state is State.RUNNING

    assert run_of(lab, key) == []

    count = lab.record(key).rows
    assert lab.rows("early_killed") == [(number,) for number in range(1, count + 1)]


def rows_seen(lab: Lab, experiment: str) -> int:
    try:
        [(seen,)] = select(lab.database, f"SELECT count() FROM packets_{experiment}")
    except psycopg.Error:
        return 0
    return int(seen)


@pytest.fixture
def sources() -> Iterator[Sources]:
    answers = {("address", "93.184.216.34"): {"geo_country": "US", "provider": "offline"}}
    with files_of(packets(10), answers) as files:
        yield files


def remaining(sources: Sources, early: Early) -> list[int]:
    with closing(early.remaining(sources, capture="x/x.pcap", experiment="x")) as batches:
        return [row["frame_number"] for batch in batches for row in batch.to_pylist()]


def test_rows_whose_answer_changed_since_are_sent_again(sources: Sources):
    names = pa.table(
        {"is_tcp": [True], "stream_index": [0], "tls_sni": [None], "tls_alpn": [None], "sent": [0]}
    )
    facts = pa.parquet.read_table(sources.answers)
    assert len(list(rows(sources, capture="x/x.pcap", experiment="x"))) == 1
    assert remaining(sources, Early(names, facts, ())) == []
    assert remaining(sources, Early(names, facts, ((2, 3), (9, 12)))) == [2, 3, 9, 10]

    country = facts.schema.get_field_index("geo_country")
    for changed in (pa.array(["CA"]), pa.nulls(1, pa.string())):
        other = facts.set_column(country, "geo_country", changed)
        assert remaining(sources, Early(names, other, ())) == list(range(1, 11))
    assert remaining(sources, Early(names, SCHEMA.empty_table(), ())) == list(range(1, 11))
