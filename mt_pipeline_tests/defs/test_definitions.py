"""What Dagster loads: names and properties that others rely on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.definitions import build_defs
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline.settings import PROJECT, SettingsError
from mt_pipeline_tests.pipelines import Lab, environment

PRINT_VERSIONS = (
    "from mt_pipeline.pipeline.versions import CODE_VERSIONS; print(json.dumps(CODE_VERSIONS))"
)


@pytest.fixture(scope="module")
def defs(lab: Lab) -> dg.Definitions:
    return build_defs(workspace=lab.workspace())


@pytest.fixture(scope="module")
def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_four_assets_follow_a_packet(specs: dict[str, dg.AssetSpec]):
    assert {
        name: {dep.asset_key.to_user_string() for dep in specs[name].deps} for name in CODE_VERSIONS
    } == {
        "tshark_json": set(),
        "endpoints": {"tshark_json"},
        "netify_enrichment": {"endpoints"},
        "questdb_packets": {"endpoints", "netify_enrichment"},
    }


def test_each_asset_says_what_it_is_and_is_partitioned_by_capture(specs: dict[str, dg.AssetSpec]):
    assert {name: specs[name].kinds for name in CODE_VERSIONS} == {
        "tshark_json": {"tshark", "json"},
        "endpoints": {"duckdb", "parquet"},
        "netify_enrichment": {"netify", "parquet"},
        "questdb_packets": {"questdb", "table"},
    }
    for spec in (specs[name] for name in CODE_VERSIONS):
        assert isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition)
        assert spec.partitions_def.name == "captures"
        assert spec.group_name == "captures"
        assert spec.skippable
        assert len(spec.description or "") > 40


def test_the_report_is_made_of_rows_and_is_partitioned_by_experiment(
    specs: dict[str, dg.AssetSpec],
):
    spec = specs["experiment_report"]

    assert set(specs) - set(CODE_VERSIONS) == {"experiment_report"}
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["questdb_packets"]
    assert isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition)
    assert (spec.partitions_def.name, spec.group_name, spec.kinds) == (
        "experiments",
        "experiments",
        {"html"},
    )


def test_code_versions_are_those_of_the_events_and_the_same_in_every_process(
    specs: dict[str, dg.AssetSpec],
):
    """A version with an address in memory would show every capture as stale after each start."""
    script = f"import json; {PRINT_VERSIONS}"
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
    ).stdout

    assert {name: specs[name].code_version for name in CODE_VERSIONS} == CODE_VERSIONS
    assert elsewhere.strip() == str(CODE_VERSIONS).replace("'", '"')


def test_a_column_that_is_not_made_of_packets_alone_leaves_their_files_as_they_are():
    """Every packet would be typed anew for a column of answers."""
    without = (
        "from mt_pipeline.schema import packets; packets.COLUMNS = "
        "tuple(c for c in packets.COLUMNS if c.origin in packets.IN_PACKETS)"
    )
    script = f"{without}; {PRINT_VERSIONS}"
    less = json.loads(
        subprocess.run(
            [sys.executable, "-c", f"import json; {script}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )

    assert [name for name in CODE_VERSIONS if less[name] != CODE_VERSIONS[name]] == [
        "questdb_packets"
    ]


def test_checks_job_and_sensor_have_the_names_that_others_rely_on(defs: dg.Definitions):
    repository = defs.get_repository_def()
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    sensor = sensors["new_captures"]
    quiet = sensors["quiet_experiments"]
    job = defs.resolve_job_def("ingest_captures")

    assert {key.to_user_string() for key in defs.resolve_asset_graph().asset_check_keys} == {
        "tshark_json:packets_read",
        "netify_enrichment:answers_complete",
        "questdb_packets:rows_stored",
        "questdb_packets:flows_reconciled",
        "questdb_packets:applications_known",
        "questdb_packets:verified",
    }
    assert (sensor.name, sensor.job_name, sensor.default_status) == (
        "new_captures",
        "ingest_captures",
        dg.DefaultSensorStatus.RUNNING,
    )
    assert sensor.minimum_interval_seconds <= 5
    assert (sensors["pending_answers"].job_name, sensors["pending_answers"].default_status) == (
        "refresh_answers",
        dg.DefaultSensorStatus.RUNNING,
    )
    assert {schedule.name: schedule.default_status for schedule in repository.schedule_defs} == {
        "refresh_daily": dg.DefaultScheduleStatus.STOPPED,
        "expire_daily": dg.DefaultScheduleStatus.RUNNING,
    }
    assert (quiet.name, quiet.job_name, quiet.default_status) == (
        "quiet_experiments",
        "report_experiments",
        dg.DefaultSensorStatus.RUNNING,
    )
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(
        CODE_VERSIONS
    )
    assert "verified" not in {node.name for node in job.nodes}, "it asks of all captures"
    assert job.executor_def.name == "in_process"


def test_a_backfill_takes_fifty_captures_a_run(defs: dg.Definitions):
    asset, _ = defs.assets or []

    assert isinstance(asset, dg.AssetsDefinition)
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(50)
    assert asset.can_subset


def test_they_load_as_a_code_location(lab: Lab):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "dagster",
            "definitions",
            "validate",
            "-w",
            str(PROJECT / "workspace.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(lab.settings(), DAGSTER_HOME=str(lab.data / "dagster")),
        cwd=lab.data / "dagster",
    )

    assert done.returncode == 0, done.stderr
    assert "mt_pipeline" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("MT_DAGSTER_PORT", "abc"), ("MT_ENRICHMENT", "netfly"), ("MT_SETTLE_SECONDS", "-1")],
)
def test_a_setting_that_cannot_be_used_stops_the_loading_and_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
):
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=name):
        build_defs()
