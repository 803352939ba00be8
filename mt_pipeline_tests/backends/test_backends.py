"""Rows in Parquet: the same as in QuestDB, always complete for readers, and without a QuestDB."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.dataset
import pytest

from mt_pipeline.backends.backend import Backend
from mt_pipeline.backends.loads import Load, Loaded, Stored
from mt_pipeline.backends.parquet import dataset
from mt_pipeline.backends.parquet.backend import ParquetFiles
from mt_pipeline.backends.parquet.writer import Limits
from mt_pipeline.captures.records import State
from mt_pipeline.pipeline.purge import plan, purge
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.settings import Settings
from mt_pipeline_tests.backends.questdb.parts import Threads, packets
from mt_pipeline_tests.backends.questdb.parts import files_of as files_of_packets
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import arp, tls_session
from mt_pipeline_tests.pipelines import (
    PACKETS,
    Lab,
    capture,
    ended,
    environment,
    files_below,
    program,
)

MIDNIGHT_NS = 1_700_006_400 * 10**9
BOTH = ("questdb", "parquet")
COLUMNS_OF = {
    "packets": [column.name for column in COLUMNS],
    "flows": [column.name for column in FLOW_COLUMNS],
}
NUMBER = {"packets": "frame_number", "flows": "conversation"}


def over_midnight(path: Path, *dates: int) -> Path:
    """Write a TLS session and an ARP exchange around the midnight of each day, in this order."""
    frames = [*tls_session("night.example.com"), *arp()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_pcap(
        path,
        [
            frame
            for day in dates
            for frame in timed(frames, start_ns=MIDNIGHT_NS + day * 86_400 * 10**9 - 3 * 10**6)
        ],
    )


def in_parquet(data: Path, experiment: str, what: str = "packets") -> list[tuple[object, ...]]:
    """Read the rows of an experiment as anybody would."""
    if not list((data / "parquet" / what).glob(f"experiment={experiment}/*/*.parquet")):
        return []
    files = f"'{data}/parquet/{what}/*/*/*.parquet', hive_partitioning=true"
    query = f"SELECT * FROM read_parquet({files}) WHERE experiment = '{experiment}'"
    return in_order(
        (row[name] for name in COLUMNS_OF[what])
        for row in duckdb.sql(query).to_arrow_table().to_pylist()
    )


def in_questdb(lab: Lab, experiment: str, what: str = "packets") -> list[tuple[object, ...]]:
    with lab.database.connect() as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row).execute(
            f'SELECT * FROM "{what}_{experiment}"'
        )
        return in_order((row[name] for name in COLUMNS_OF[what]) for row in cursor)


def in_order(rows: Iterator[Iterator[object]]) -> list[tuple[object, ...]]:
    plain = [
        tuple(value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row)
        for row in rows
    ]
    return sorted(plain, key=repr)


def files_of(data: Path, experiment: str) -> list[str]:
    return [
        file
        for what in COLUMNS_OF
        for file in files_below(data / "parquet" / what / f"experiment={experiment}")
    ]


@pytest.fixture(scope="module")
def both(lab: Lab) -> str:
    """Load some captures into both; returns their experiment."""
    keys = [
        "both ends/everything.pcapng",
        "both ends/数据 ü.pcap",
        "both ends/deep/a.pcap",
        "both ends/a.pcap",
    ]
    (lab.inbox / "both ends" / "deep").mkdir(parents=True)
    everything(lab.inbox / keys[0])
    over_midnight(lab.inbox / keys[1], 0, 1)
    capture(lab.inbox / keys[2])
    capture(lab.inbox / keys[3], "0.0.0.0.example.com")
    ran = lab.run(*keys, workspace=lab.workspace(backends=BOTH, enrichment="offline"))
    assert ran.success
    for check in ("rows_stored", "flows_reconciled"):
        assert [evaluation.passed for evaluation in ran.checks(check)] == [True]
    return "both_ends"


@pytest.mark.parametrize("what", ["packets", "flows"])
def test_every_row_and_column_is_the_same_in_both(lab: Lab, both: str, what: str):
    found = in_parquet(lab.data, both, what)

    assert len(found) > 40
    assert found == in_questdb(lab, both, what)
    assert len({row[0].date() for row in found if isinstance(row[0], datetime)}) > 2


def test_pandas_and_pyarrow_read_the_folder_with_categories_and_utc(lab: Lab, both: str):
    folder = lab.data / "parquet" / "packets"

    frame = pd.read_parquet(folder, filters=[("experiment", "=", both)])
    table = pyarrow.dataset.dataset(folder, partitioning="hive").to_table()

    assert len(frame) == len(in_questdb(lab, both))
    assert (str(frame["ts"].dtype), str(frame["protocol"].dtype)) == (
        "datetime64[us, UTC]",
        "category",
    )
    assert set(table.schema.names) == {*COLUMNS_OF["packets"], "date"}


def test_what_a_capture_no_longer_has_is_in_neither(lab: Lab):
    """Other dates, fewer packets, other answers: files and folders of the earlier load go."""
    path, workspace = lab.inbox / "again in both" / "a.pcap", lab.workspace(backends=BOTH)
    over_midnight(path, 0, 1, 2)
    capture(path.with_name("b.pcap"))
    assert lab.run("again in both/b.pcap", workspace=workspace).success
    assert lab.run("again in both/a.pcap", workspace=workspace).success
    before = files_of(lab.data, "again_in_both")
    over_midnight(path, 0)

    ran = lab.run(
        "again in both/a.pcap", workspace=lab.workspace(backends=BOTH, enrichment="offline")
    )

    assert ran.success
    assert (len(before), len(files_of(lab.data, "again_in_both"))) == (2 * 5, 2 * 3)
    for what in COLUMNS_OF:
        assert in_parquet(lab.data, "again_in_both", what) == in_questdb(lab, "again_in_both", what)
    place = COLUMNS_OF["packets"].index("ip_dst_provider")
    assert {row[place] for row in in_parquet(lab.data, "again_in_both")} >= {"offline"}
    assert list((lab.data / "parquet" / ".loading").iterdir()) == []


class SmallBatches(ParquetFiles):
    """A back end that receives ten packets at once."""

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Stored]]:
        return super().load([replace(load, packets=sliced(load.packets)) for load in loads])


@dataclass(frozen=True)
class Limited(Workspace):
    """A workspace whose Parquet writers have these limits."""

    parquet_limits: Limits = field(default_factory=Limits)

    def backends(self) -> Sequence[Backend]:
        return [
            SmallBatches(backend.folder, self.parquet_limits)
            if isinstance(backend, ParquetFiles)
            else backend
            for backend in super().backends()
        ]


def limited(lab: Lab, limits: Limits, *, backends: tuple[str, ...]) -> Workspace:
    return Limited(lab.settings(backends=backends).options(), parquet_limits=limits)


def sliced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch.slice(start, 10) for batch in batches for start in range(0, batch.num_rows, 10))


def test_days_in_any_order_need_few_open_files_and_become_a_file_each(lab: Lab):
    over_midnight(lab.inbox / "parquet any order" / "a.pcap", 3, 0, 3, 1, 0, 5, 3)
    workspace = limited(lab, Limits(open_files=2), backends=BOTH)

    assert lab.run("parquet any order/a.pcap", workspace=workspace).success

    assert len(files_of(lab.data, "parquet_any_order")) == 2 * 7
    assert in_parquet(lab.data, "parquet_any_order") == in_questdb(lab, "parquet_any_order")


@pytest.mark.parametrize(
    ("limits", "days", "cure"),
    [
        (Limits(open_files=1, dates=3), (0, 2, 4, 6, 8), "editcap -t"),
        (Limits(open_files=1, parts=3), (0, 2, 0, 2, 0, 2), "reordercap"),
    ],
    ids=["dates", "parts"],
)
def test_more_dates_than_are_written_are_refused_by_name_and_leave_nothing(
    lab: Lab, limits: Limits, days: tuple[int, ...], cure: str
):
    key = f"scattered/{cure.split()[0]}.pcap"
    over_midnight(lab.inbox / key, *days)

    ran = lab.run(key, workspace=limited(lab, limits, backends=("parquet",)))

    assert not ran.success
    assert ran.failure.startswith(f"{key}: its packets ")
    assert cure in ran.failure
    assert files_below(lab.data / "parquet" / ".loading") == []


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    """Settings of a data folder of its own, without QuestDB."""
    return Settings(
        _env_file=None, data_dir=tmp_path / "data", enrichment="none", backends="parquet"
    )


def environment_of(alone: Settings) -> dict[str, str]:
    return environment(alone, MT_BACKENDS="parquet")


def test_parquet_alone_needs_no_questdb_from_ingest_to_purge(alone: Settings, tmp_path: Path):
    path = over_midnight(tmp_path / "night.pcap", 0)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        result = ended(program(*arguments, settings=alone, env=environment_of(alone)))
        return result.code, result.out, result.err

    code, out, err = run("ingest", path, "--name", "night")
    number = len(in_parquet(alone.data_dir, "night"))
    assert (code, out, err) == (
        0,
        f"night/night.pcap: {number} packets, {number} rows in parquet/packets/experiment=night\n",
        "",
    )
    assert number > 10
    assert run("status")[1].startswith(
        f"done     night night/night.pcap  {number} packets, {number} rows"
    )
    assert run("refresh", "night")[0] == 0
    assert run("report", "night") == (
        2,
        "",
        "mt-pipeline: this needs QuestDB, which MT_BACKENDS leaves out: "
        "add questdb to it, and load the captures again\n",
    )
    assert f"{number} rows and" in run("purge", "--name", "night", "--yes")[1]
    assert files_below(alone.data_dir / "parquet") == []
    assert not (alone.data_dir / "questdb").exists()


@pytest.mark.parametrize(("renamed", "dates"), [(0, 1), (1, 2)])
def test_a_kill_before_all_files_are_in_place_is_made_good_by_the_next_load(
    alone: Settings, tmp_path: Path, renamed: int, dates: int
):
    path = capture(tmp_path / "a.pcap")
    assert (
        ended(
            program("ingest", path, "--name", "killed", settings=alone, env=environment_of(alone))
        ).code
        == 0
    )
    before = in_parquet(alone.data_dir, "killed")
    over_midnight(path, 2)
    killing = f"""
import itertools, os, signal
from pathlib import Path
from mt_pipeline.cli.main import main
rename, number = Path.rename, itertools.count()

def rename_or_die(path, target):
    if Path(target).suffix == ".parquet" and "experiment=" in str(target):
        if next(number) == {renamed}:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)

Path.rename = rename_or_die
main()
"""

    killed = subprocess.run(
        [sys.executable, "-c", killing, "ingest", path, "--name", "killed"],
        env=environment_of(alone),
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    left = in_parquet(alone.data_dir, "killed")
    assert set(before) <= set(left)
    assert (left == before) is (renamed == 0)
    assert len(files_below(alone.data_dir / "parquet" / "packets")) == dates
    assert (
        ended(
            program("ingest", path, "--name", "killed", settings=alone, env=environment_of(alone))
        ).code
        == 0
    )
    found = in_parquet(alone.data_dir, "killed")
    assert len(found) > PACKETS
    assert not set(before) & set(found)
    assert files_below(alone.data_dir / "parquet" / ".loading") == []


def test_purge_takes_a_capture_out_of_both_and_leaves_its_neighbour(lab: Lab):
    keys = ["purged both/a.pcap", "purged both/b.pcap"]
    for key in keys:
        lab.put(key)
    assert lab.run(*keys, workspace=lab.workspace(backends=BOTH)).success

    workspace = lab.workspace(backends=BOTH)
    purge(
        plan(workspace, key=keys[0], experiment=None),
        forget_capture=lambda _: None,
        forget_experiment=lambda _: None,
        echo=lambda _: None,
    )

    assert lab.record(keys[0]).state is State.PURGED
    assert len(files_of(lab.data, "purged_both")) == 2
    assert len(in_parquet(lab.data, "purged_both")) == PACKETS
    assert in_parquet(lab.data, "purged_both") == in_questdb(lab, "purged_both")


def test_captures_of_an_experiment_come_and_go_at_once(tmp_path: Path):
    """The last capture of a date deletes the folder while another one is about to use it."""
    keys = [f"crowd/{number}.pcap" for number in range(4)]

    def comes_and_goes(key: str) -> None:
        for _ in range(15):
            with (
                files_of_packets(packets(5)) as files,
                closing(rows(files, capture=key, experiment="crowd")) as batches,
            ):
                of_flows = flows(files, capture=key, experiment="crowd")
                loaded, stored = dataset.load(
                    tmp_path / "parquet", Load(key, "crowd", batches, of_flows)
                )
            assert (loaded.rows, stored.flow_packets) == (5, 5)
            if key != keys[0]:
                assert dataset.remove(tmp_path / "parquet", key) == 5

    with Threads() as threads:
        for key in keys:
            threads.start(comes_and_goes, key)

    assert len(files_below(tmp_path / "parquet")) == 2
    assert len(in_parquet(tmp_path, "crowd")) == 5
