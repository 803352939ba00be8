"""Many known captures: time of a sensor tick, and of the UI's page of an asset."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import dagster as dg

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline_tests.benchmarks.measuring import say
from mt_pipeline_tests.browsers import chromium, page
from mt_pipeline_tests.pipelines import STAGES, capture, settings_of
from mt_pipeline_tests.services import running

FOLDERS = 100
_NOWHERE = Database("127.0.0.1", 9, 9, "", "")


def looks(folder: Path, *, count: int) -> None:
    """Time the ticks of the sensor with so many captures: new, settled, and done."""
    settings = settings_of(folder, _NOWHERE, settle_seconds=0.1)
    workspace = Workspace(settings.options())
    first = capture(workspace.inbox / "0" / "0.pcap")
    for number in range(1, count):
        path = workspace.inbox / str(number % FOLDERS) / f"{number}.pcap"
        path.parent.mkdir(exist_ok=True)
        os.link(first, path)
    with dagster_home.opened(settings.options()) as opened:
        _look(opened, workspace, f"{count:,} captures, all new")
        _look(opened, workspace, "the same, settled: the first portion is asked for")
        with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger, ledger:
            ledger.execute(
                "UPDATE captures SET state = 'done', requested_at = NULL, packets = 2, rows = 2, "
                "sha256 = key"
            )
        for _ in range(3):
            _look(opened, workspace, "the same, all done with")


def asset_page(folder: Path, *, partitions: int) -> None:
    """Time the page of an asset in a browser, with so many partitions."""
    settings = settings_of(folder / "data", _NOWHERE)
    keys = [f"experiment{number % FOLDERS}/{number:06}.pcap" for number in range(partitions)]
    with dagster_home.opened(settings.options()) as opened:
        opened.add_dynamic_partitions(captures.name or "", keys)
        for asset in STAGES:
            opened.report_runless_asset_event(
                dg.AssetMaterialization(asset, partition=keys[0], metadata={"seconds": 1.0})
            )
    _copy_events(settings.data_dir / "dagster" / "history" / "runs" / "index.db", keys)
    with running(folder) as service, chromium(folder / "profile") as browser:
        for what in ("first", "again"):
            started = time.monotonic()
            page(
                browser,
                f"{service.ui}/assets/questdb_packets?view=partitions",
                f"Materialized ({partitions})",
            )
            say(
                f"page of an asset with {partitions:,} partitions, {what}: "
                f"{time.monotonic() - started:.2f} s"
            )


def _look(opened: dg.DagsterInstance, workspace: Workspace, what: str) -> None:
    time.sleep(0.2)
    started = time.monotonic()
    result = tick(dg.build_sensor_context(instance=opened), workspace)
    say(f"sensor, {what}: {time.monotonic() - started:.2f} s")
    if isinstance(result, dg.SensorResult):
        opened.add_dynamic_partitions(
            captures.name or "",
            [
                key
                for request in result.dynamic_partitions_requests
                for key in request.partition_keys
            ],
        )


def _copy_events(index: Path, keys: list[str]) -> None:
    """Copy the events of the first partition to the others: to report them takes an hour."""
    with closing(sqlite3.connect(index)) as db, db:
        names = [
            name for _, name, *_ in db.execute("PRAGMA table_info(event_logs)") if name != "id"
        ]
        events = db.execute(
            f"SELECT {', '.join(names)} FROM event_logs WHERE partition = ?", (keys[0],)
        ).fetchall()
        of_partition, of_event = names.index("partition"), names.index("event")
        for event in events:
            rows = (
                [
                    key
                    if place == of_partition
                    else value.replace(keys[0], key)
                    if place == of_event
                    else value
                    for place, value in enumerate(event)
                ]
                for key in keys[1:]
            )
            db.executemany(
                f"INSERT INTO event_logs ({', '.join(names)}) "
                f"VALUES ({', '.join('?' * len(names))})",
                rows,
            )
