"""Parts of tests of the pipeline: a data folder, its Dagster instance, captures, runs, rows."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest
from psycopg import sql

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.server_folder import Address
from mt_pipeline.captures.records import Record
from mt_pipeline.cli import main
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.partitions import captures
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home as instance
from mt_pipeline.settings import Settings
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.tshark.parts import NO_FORKS

STAGES = ("tshark_json", "endpoints", "netify_enrichment", "questdb_packets")
PASSWORD = "quest"
PACKETS = 2
"""Packets of `capture`."""

TSHARK = shutil.which("tshark") or "tshark"


def capture(path: Path, name: str = "www.example.com") -> Path:
    """Write a small capture: a DNS question and its answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_pcap(path, timed(dns(name)))


def settings_of(data: Path, database: Database, **changes: object) -> Settings:
    """Return the settings of a data folder, without any `.env`; keywords change or add some."""
    where = {
        "questdb_host": database.host,
        "questdb_http_port": database.http_port,
        "questdb_pg_port": database.pg_port,
    }
    ours = {
        "data_dir": data,
        "enrichment": "none",
        "questdb_password": PASSWORD,
        "questdb_wait_seconds": 0,
    }
    return Settings(_env_file=None, **{**ours, **where, **changes})


def wrapper(path: Path, script: str) -> Path:
    """Write a program that acts as tshark.

    `script` runs when a capture is read; the real program, `"$TSHARK"`, does everything else.
    """
    reads = f'case "$*" in *"-T tabs"*) ;; *) exec {TSHARK} "$@" ;; esac'
    path.write_text(f"#!/bin/sh\n{NO_FORKS}\nTSHARK={TSHARK}\n{reads}\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def files_below(folder: Path) -> list[str]:
    """List the files below a folder, hidden ones too."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@dataclass(frozen=True)
class Ran:
    """How a run of the job ended, as the event log has it: that is what the UI shows."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    @property
    def success(self) -> bool:
        """Whether it succeeded."""
        return self.result.success

    @property
    def run_id(self) -> str:
        """Which run it was."""
        return self.result.run_id

    @property
    def failure(self) -> str:
        """What the run page shows first."""
        return self._failures()[0].description or ""

    @property
    def failure_metadata(self) -> Mapping[str, object]:
        """What stands below it."""
        return {name: value.value for name, value in self._failures()[0].metadata.items()}

    def materialised(self, asset: str = "questdb_packets") -> list[str]:
        """List the captures that an asset was materialised for, in their order."""
        return [
            event.partition or ""
            for event in self._materialisations()
            if event.asset_key == dg.AssetKey(asset)
        ]

    def materialisation(self, asset: str, key: str) -> dg.AssetMaterialization:
        """Return the materialisation of a capture."""
        events = [
            event
            for event in self._materialisations()
            if event.asset_key == dg.AssetKey(asset) and event.partition == key
        ]
        assert len(events) == 1
        return events[0].step_materialization_data.materialization

    def metadata(self, asset: str, key: str) -> dict[str, object]:
        """Return the metadata of a capture, as plain values."""
        return {
            name: value.value for name, value in self.materialisation(asset, key).metadata.items()
        }

    def checks(self, name: str) -> list[dg.AssetCheckEvaluation]:
        """Return the evaluations of a check, in their order."""
        evaluations = [
            event.asset_check_evaluation_data
            for event in self._events(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        ]
        return [evaluation for evaluation in evaluations if evaluation.check_name == name]

    def _events(self, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        return [
            entry.get_dagster_event() for entry in self.instance.all_logs(self.run_id, of_type=kind)
        ]

    def _materialisations(self) -> list[dg.DagsterEvent]:
        return self._events(dg.DagsterEventType.ASSET_MATERIALIZATION)

    def _failures(self) -> list[object]:
        events = self._events(dg.DagsterEventType.STEP_FAILURE)
        assert len(events) == 1
        assert events[0].step_failure_data.user_failure_data is not None, (
            "not a failure that we raised"
        )
        return [events[0].step_failure_data.user_failure_data]


@dataclass(frozen=True)
class Lab:
    """A data folder, its Dagster instance, and a QuestDB.

    The tests of a module share all three: use experiments of your own.
    """

    data: Path
    instance: dg.DagsterInstance
    database: Database

    @property
    def inbox(self) -> Path:
        """The watched folder."""
        return self.data / "inbox"

    def settings(self, **changes: object) -> Settings:
        """Make the settings; keywords change or add some."""
        return settings_of(self.data, self.database, **changes)

    def workspace(self, **changes: object) -> Workspace:
        """Open the rooms; keywords are settings."""
        return Workspace(self.settings(**changes).options())

    @cached_property
    def _workspace(self) -> Workspace:
        return self.workspace()

    def put(self, key: str, content: bytes | None = None) -> Path:
        """Put a file into the inbox: a small capture, or these bytes."""
        path = self.inbox / key
        if content is None:
            return capture(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run(
        self,
        *keys: str,
        stages: Iterable[str] = STAGES,
        workspace: Workspace | None = None,
        display_filter: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run the job for captures, in this order.

        Several are one range of partitions, so their keys must be new.
        """
        self.instance.add_dynamic_partitions(captures.name or "", list(keys))
        several = {
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
        config = {} if display_filter is None else {"filter": display_filter}
        job = build_defs(workspace=workspace or self._workspace).resolve_job_def("ingest_captures")
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=keys[0] if len(keys) == 1 else None,
            tags={**(several if len(keys) > 1 else {}), **(tags or {})},
            asset_selection=[dg.AssetKey(stage) for stage in stages],
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {"ingest": {"config": config}},
            },
        )
        return Ran(result, self.instance)

    def record(self, key: str) -> Record:
        """Return what the ledger knows of a capture."""
        record = self._workspace.ledger.get(key)
        assert record is not None
        return record

    def inputs(self, experiment: str) -> set[str]:
        """Return the hashes in the names of an experiment's files of all stages.

        A file that was left over has another one, or none.
        """
        stages = ("tshark_json", "endpoints", "enrichment")
        return {
            re.split("[.-]", Path(file).name)[0]
            for stage in stages
            for file in files_below(self.data / stage / experiment)
        }

    def rows(
        self, experiment: str, columns: Sequence[str] = ("frame_number",), *, key: str | None = None
    ) -> list[tuple[object, ...]]:
        """Read the view of an experiment, in the order of frames."""
        return rows(self.database, experiment, columns, key=key)


@contextmanager
def open_lab(data: Path, server: Address) -> Iterator[Lab]:
    """Set up a data folder as `make setup` does, and open its Dagster instance."""
    database = Database("127.0.0.1", server.http_port, server.pg_port, "admin", PASSWORD)
    with patch.dict(os.environ), instance.opened(settings_of(data, database).options()) as opened:
        yield Lab(data, opened, database)


def rows(
    database: Database,
    experiment: str,
    columns: Sequence[str] = ("frame_number",),
    *,
    key: str | None = None,
) -> list[tuple[object, ...]]:
    """Read the view of an experiment, one capture of it or all, in the order of frames."""
    query = sql.SQL("SELECT {} FROM {}{} ORDER BY capture, frame_number").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(f"packets_{experiment}"),
        sql.SQL("") if key is None else sql.SQL(" WHERE capture = %s"),
    )
    with database.connect() as connection:
        return connection.execute(query, () if key is None else (key,)).fetchall()


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """Make the environment of a process that works with these settings, and no other of ours."""
    ours = {
        "MT_DATA_DIR": str(settings.data_dir),
        "MT_ENRICHMENT": ",".join(settings.enrichment or ()) or "none",
        "MT_QUESTDB_HTTP_PORT": str(settings.questdb_http_port),
        "MT_QUESTDB_PG_PORT": str(settings.questdb_pg_port),
        **(
            {"MT_QUESTDB_PASSWORD": settings.questdb_password.get_secret_value()}
            if settings.questdb_password
            else {}
        ),
        "MT_QUESTDB_WAIT_SECONDS": str(settings.questdb_wait_seconds),
        **({"MT_QUESTDB_HOST": settings.questdb_host} if settings.questdb_host else {}),
    }
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MT_", "DAGSTER_"))
    }
    return {**others, **ours, "DAGSTER_DISABLE_TELEMETRY": "1", **more}


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def run_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str | Path],
) -> Result:
    """Run the command line in this process."""
    monkeypatch.setattr(sys, "argv", ["mt-pipeline", *map(str, arguments)])
    capsys.readouterr()
    try:
        main.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    out, err = capsys.readouterr()
    return Result(code, out, err)


def program(
    *arguments: str | Path, settings: Settings, prefix: Sequence[str] = (), **options: object
) -> subprocess.Popen[str]:
    """Start the command line as a process with these settings.

    Ctrl-C reaches it as in a terminal. More options are Popen's.
    """
    defaults = {
        "env": environment(settings),
        "cwd": settings.data_dir.parent,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "mt_pipeline.cli.main", *map(str, arguments)],
        text=True,
        # Whoever is started in the background of a shell ignores Ctrl-C, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **{**defaults, **options},
    )


def ended(process: subprocess.Popen[str], *, timeout: float = 240) -> Result:
    """Wait for a process to end."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)
