"""One odd file, name or packet costs only itself, in every command that is about several."""

import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.captures.records import State
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline_tests.building.files import START_NS, Frame, timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.captures.test_scan import ODD_TIMES
from mt_pipeline_tests.pipelines import PACKETS, Lab, Result, capture

Terminal = Callable[..., Result]

NAMES = (
    "[x",
    "x[",
    "{x}",
    "NULL",
    "$1 %s",
    "'a'",
    "a, b",
    "‘q’ “w”",  # noqa: RUF001
    "NaN",
    "(a)",
    "--",
    "#x",
    "x;y",
    "`x`",
    "<b>",
    "a" * 250,
)  # noqa: RUF001, RUF100


def test_a_folder_of_files_of_any_time_is_ingested_and_looked_after(
    terminal: Terminal, lab: Lab, tmp_path: Path
):
    """A file time after 2262-04-11 ended `ingest` before it began, and every tick of the sensor."""
    folder = tmp_path / "any time"
    for number, seconds in enumerate(ODD_TIMES):
        os.utime(capture(folder / f"{number}.pcap"), ns=(0, seconds * 10**9 + 1))
    keys = [f"any time/{number}.pcap" for number in range(len(ODD_TIMES))]

    output = terminal("ingest", folder)

    assert (output.code, output.err) == (0, f"new experiment any_time: {len(keys)} captures\n")
    assert sorted(output.out.splitlines()) == [
        f"{key}: 2 packets, 2 rows in packets_any_time" for key in keys
    ]
    assert terminal("ingest", folder).out.startswith(
        f"{len(keys)} of {len(keys)} captures are in already"
    )
    workspace = lab.workspace(settle_seconds=0)
    result = tick(dg.build_sensor_context(instance=lab.instance), workspace)
    asked = (
        [request.partition_key for request in result.run_requests]
        if isinstance(result, dg.SensorResult)
        else []
    )
    assert not set(keys) & set(asked)
    assert terminal("verify", "--name", "any time", "--hash").out == "0 differences\n"
    assert (
        terminal("refresh", "any time").out
        == f"{len(keys)} captures: 0 loaded again, {len(keys)} unchanged\n"
    )
    assert terminal("purge", "--name", "any time", "--yes").code == 0
    assert {lab.record(key).state for key in keys} == {State.PURGED}


def test_names_are_text_for_every_command(terminal: Terminal, lab: Lab, tmp_path: Path):
    """Experiments that begin with a bracket, and captures named `null`, always failed."""
    keys = [f"{name}/{name[:200]}.pcap" for name in NAMES]
    for key in [*keys, "null"]:
        capture(lab.inbox / key)

    output = terminal("ingest", *(lab.inbox / key for key in [*keys, "null"]))

    assert (
        output.code,
        [
            line
            for line in output.err.splitlines()
            if not line.startswith(("note: ", "new experiment ", "experiment "))
        ],
    ) == (0, [])
    for key in keys[:2]:  # each is the only value of its statement
        assert terminal("verify", "--capture", key).out == "0 differences\n"
        assert terminal("refresh", "--capture", key).code == 0
        assert terminal("ingest", lab.inbox / key).code == 0
        assert len(lab.rows(experiment_of(key), key=key)) == PACKETS
        assert (
            terminal("report", key.partition("/")[0], "--output", tmp_path / "report.html").code
            == 0
        )
        output = terminal("purge", "--capture", key, "--yes")
        assert (output.code, output.out.splitlines()[-1].startswith(f"{key}: {PACKETS} rows")) == (
            0,
            True,
        )
    assert terminal("purge", "--capture", "null", "--yes").code == 0
    assert {lab.record(key).state for key in keys[:2]} == {State.PURGED}


def test_a_server_name_of_a_dot_is_a_row_like_others(terminal: Terminal, lab: Lab, tmp_path: Path):
    """It has no domain, and DuckDB ends a query whose function returns nothing for something."""
    frames = [*tls_session("."), *tls_session("www.example.com", client_port=50_123)]

    output = terminal("ingest", write_pcap(tmp_path / "dot.pcap", timed(frames)))

    assert (output.code, output.err) == (0, "")
    found = set(lab.rows("dot", ("tls_sni", "tls_sni_domain")))
    assert found == {(".", None), ("www.example.com", "example.com")}


@pytest.mark.parametrize(("data", "length"), [(b"", 0), (dns()[0], 2**32 - 1)])
def test_frames_without_a_length_are_rows(
    terminal: Terminal, lab: Lab, tmp_path: Path, data: bytes, length: int
):
    name = f"length_{len(data)}_{length}"
    frames = [Frame(data, START_NS + number, wire_length=length) for number in range(50)]

    output = terminal("ingest", write_pcap(tmp_path / f"{name}.pcap", frames))

    assert (output.code, output.err) == (0, "")
    assert len(lab.rows(name)) == len(frames)
    assert terminal("report", name, "--output", tmp_path / "report.html").code == 0


def test_what_cannot_be_purged_costs_no_other_capture(
    terminal: Terminal, lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    """The Parquet file of one is a folder: it cannot be deleted."""
    monkeypatch.setenv("MT_BACKENDS", "parquet")
    keys = [f"half purged/{name}.pcap" for name in "abc"]
    for key in keys:
        capture(lab.inbox / key)
    assert lab.run(*keys, workspace=lab.workspace(backends=("parquet",))).success
    [file] = (lab.data / "parquet" / "packets" / "experiment=half_purged").glob(
        "date=*/b.pcap-*.parquet"
    )
    file.unlink()
    (file / "in the way").mkdir(parents=True)

    output = terminal("purge", "--name", "half purged", "--yes")

    assert (output.code, output.err.count("\n")) == (1, 1)
    assert output.err.startswith(
        "mt-pipeline: 1 of 3 captures were not removed: half purged/b.pcap: "
    )
    assert [lab.record(key).state for key in keys] == [State.PURGED, State.DONE, State.PURGED]


def test_what_cannot_expire_costs_no_other_capture(lab: Lab):
    """The documents of one are a folder: they cannot be deleted."""
    keys = [f"half expired/{name}.pcap" for name in "abc"]
    for key in keys:
        lab.put(key)
        assert lab.run(key).success
    documents = {
        key: CaptureFiles(lab.data, key).documents(lab.record(key).documents or "") for key in keys
    }
    documents[keys[1]].unlink()
    documents[keys[1]].mkdir()

    job = build_defs(workspace=lab.workspace(keep_documents_days=0)).resolve_job_def("expire_old")
    result = job.execute_in_process(instance=lab.instance, raise_on_error=False)

    [failure] = [
        event.step_failure_data.user_failure_data
        for event in result.all_events
        if event.is_step_failure
    ]
    assert f"{keys[1]}: " in failure.description
    assert [documents[key].exists() for key in keys] == [False, True, False]
