"""A refresh brings captures of an earlier release up to date, by tshark only where it must."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, http
from mt_pipeline_tests.pipelines import Lab

OLD = "0123456789abcdef"
"""Name of the documents of an earlier release, which had other fields."""

NAME = "www.netflix.com"


@pytest.fixture
def loaded(lab: Lab, terminal: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that makes a capture as an earlier release left it."""
    monkeypatch.setenv("MT_BACKENDS", "parquet")
    monkeypatch.setenv("MT_ENRICHMENT", "offline")

    def load(experiment: str, *, lacks: str | None) -> str:
        key = f"{experiment}/x.pcap"
        frames = [*dns(NAME), *http("192.0.2.1")]
        write_pcap(lab.put(key, b""), timed(frames))
        assert terminal("ingest", lab.inbox / experiment).code == 0
        assert names(lab, experiment) == {NAME}
        record, files = lab.record(key), CaptureFiles(lab.data, key)
        documents = files.documents(record.documents)
        changed = {"answers": record.answers.partition("-")[0]}
        if lacks:
            _without(lacks, documents, files.documents(OLD))
            changed["documents"] = OLD
        files.delete_packets()
        with closing(sqlite3.connect(lab.data / "ledger.sqlite")) as ledger, ledger:
            for column, value in changed.items():
                query = f"UPDATE captures SET {column} = ? WHERE key = ?"
                ledger.execute(query, (value, key))
        return key

    return load


def _without(field: str, documents: Path, output: Path) -> None:
    """Write documents without a field that the earlier release did not read."""
    lines = pa.input_stream(documents, compression="zstd").read().decode().splitlines()
    parsed = [json.loads(line) for line in lines]
    assert any(document["layers"].pop(field, None) for document in parsed)
    text = "".join(json.dumps(document) + "\n" for document in parsed)
    with pa.CompressedOutputStream(pa.OSFile(str(output), "wb"), "zstd") as file:
        file.write(text.encode())
    documents.unlink()


def flows(lab: Lab, experiment: str) -> list[dict[str, object]]:
    folder = lab.data / "parquet" / "flows" / f"experiment={experiment}"
    return [
        row
        for file in folder.rglob("*.parquet")
        for row in pq.read_table(file, partitioning=None).to_pylist()
    ]


def names(lab: Lab, experiment: str) -> set[object]:
    return {row["remote_name"] for row in flows(lab, experiment) if row["protocol"] == "http"}


def test_documents_that_hold_enough_are_not_read_again(
    lab: Lab, terminal: Callable, loaded: Callable
):
    key = loaded("old_rows", lacks=None)
    before = lab.record(key)
    documents = CaptureFiles(lab.data, key).documents(before.documents)
    read = documents.stat().st_mtime_ns
    assert terminal("refresh", "old_rows").out == "1 captures: 1 loaded again, 0 unchanged\n"
    assert (lab.record(key).documents, documents.stat().st_mtime_ns) == (before.documents, read)
    assert names(lab, "old_rows") == {NAME}
    assert terminal("refresh", "old_rows").out == "1 captures: 0 loaded again, 1 unchanged\n"


def test_tshark_runs_again_where_documents_lack_what_rows_show_now(
    lab: Lab, terminal: Callable, loaded: Callable
):
    key = loaded("old_documents", lacks="dns_a")
    assert terminal("refresh", "old_documents").out == "1 captures: 1 loaded again, 0 unchanged\n"
    assert lab.record(key).documents != OLD
    assert names(lab, "old_documents") == {NAME}
    assert {row["app_tag"] for row in flows(lab, "old_documents")} == {"netflix", "dns"}
    files = CaptureFiles(lab.data, key)
    assert not files.documents(OLD).exists()
    assert files.documents(lab.record(key).documents).exists()
    assert terminal("refresh", "old_documents").out == "1 captures: 0 loaded again, 1 unchanged\n"


@pytest.mark.parametrize("is_gone", [True, False])
def test_without_the_file_the_rows_are_made_of_what_there_is(
    lab: Lab, terminal: Callable, loaded: Callable, *, is_gone: bool
):
    experiment = f"old_file_{is_gone}".lower()
    key = loaded(experiment, lacks="dns_a")
    file = lab.inbox / key
    if is_gone:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])  # the next ingest takes it
    out = terminal("refresh", experiment).out
    assert out == "1 captures: 1 loaded again, 0 unchanged\n"
    assert lab.record(key).documents == OLD
    assert names(lab, experiment) == {None}
    assert {row["app_tag"] for row in flows(lab, experiment)} == {None, "dns"}
    assert terminal("refresh", experiment).out == "1 captures: 0 loaded again, 1 unchanged\n"
