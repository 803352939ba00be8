"""The service with its inbox in a store: objects become rows, and no secret comes out."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from mt_pipeline.captures.records import State
from mt_pipeline.service import explorer_process
from mt_pipeline_tests.pipelines import PACKETS, capture
from mt_pipeline_tests.s3 import S3
from mt_pipeline_tests.services import Running, eventually, processes_of, running

KEY = "kitchen/far.pcap"
ACTIONS = ("s3:ListBucket", "s3:GetObject")


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    with S3() as started:
        yield started


@pytest.fixture(scope="module")
def account(store: S3, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    made = capture(tmp_path_factory.mktemp("made") / "far.pcap")
    store.put(KEY, made.read_bytes())
    store.put("kitchen//bad.pcap", b"x")
    return store.guarded(*ACTIONS)


@pytest.fixture(scope="module")
def service(
    store: S3, account: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(folder, MT_INBOX=store.url, **account) as started:
        assert eventually(lambda: (record := started.record(KEY)) and record.state is State.DONE)
        yield started


def test_a_capture_that_is_put_into_the_bucket_becomes_rows(service: Running, store: S3):
    assert len(service.rows("kitchen")) == PACKETS
    assert f"  watched folder   {store.url}/<experiment>/" in service.output.read_text()
    bad = service.record("kitchen//bad.pcap")
    assert bad is not None
    assert bad.state is State.REFUSED


def test_the_explorer_cuts_packets_of_the_store(service: Running):
    assert eventually(lambda: explorer_process.answers(service.settings))

    answer = requests.get(f"{service.explorer}/download/packets.pcapng?e=kitchen", timeout=120)

    assert answer.status_code == 200, answer.text
    assert b"www\x07example" in answer.content


def test_programs_that_are_not_ours_do_not_get_the_account(service: Running):
    programs = [
        process
        for process in processes_of(service.data)
        if process.name() in ("java", "tshark", "bwrap")
    ]
    assert any(process.name() == "java" for process in programs)
    for process in programs:
        assert not [name for name in process.environ() if name.startswith("AWS_")], process


def test_the_secret_is_in_no_file_no_output_and_on_no_command_line(
    service: Running, account: dict[str, str]
):
    secret = account["AWS_SECRET_ACCESS_KEY"]

    assert secret not in service.output.read_text()
    for process in processes_of(service.data):
        try:
            assert secret not in " ".join(process.cmdline())
        except psutil.NoSuchProcess:  # a run that has ended meanwhile
            continue
    files = [path for path in service.data.rglob("*") if _is_file(path)]
    assert len(files) > 50
    assert [path for path in files if secret.encode() in _content(path)] == []


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # deleted meanwhile
        return b""


def test_a_store_that_comes_back_is_read_again(service: Running, store: S3, tmp_path: Path):
    made = capture(tmp_path / "x.pcap", "later.example.org").read_bytes()
    store.stop()
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", store.port)) != 0
    assert eventually(lambda: "does not answer" in service.output.read_text())
    assert service.record(KEY).state is State.DONE  # it does not count as deleted

    store.start()
    store.put("kitchen/later.pcap", made)

    assert eventually(
        lambda: (record := service.record("kitchen/later.pcap")) and record.state is State.DONE
    )
