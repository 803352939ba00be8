"""Errors of the system come with their meaning and a cure, wherever they are raised."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb import server_folder
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.identity import (
    CaptureUnreadableError,
    capture_at,
    open_capture,
    sha256_of,
)
from mt_pipeline.captures.inbox import sniff
from mt_pipeline.errors import meaning
from mt_pipeline.pipeline.failures import sentence
from mt_pipeline.settings import Settings
from mt_pipeline.tshark.command import Tshark
from mt_pipeline_tests.pipelines import capture, ended, environment, program

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)


@only_root
def test_a_disk_without_inodes_is_not_called_full(tmp_path: Path):
    with disk(tmp_path / "disk", "size=1m,nr_inodes=10") as small:
        with suppress(OSError):
            for number in range(20):
                (small / f"{number}").touch()
        with pytest.raises(OSError, match="No space") as caught:
            (small / "one more").touch()
        assert sentence(caught.value).startswith(f"the disk has no inodes left ({small}/")
        assert "no inodes left" in sentence(
            OSError("No space left on device"), folder=small
        )  # of a library that names no file


@only_root
def test_a_full_disk_is_called_full(tmp_path: Path):
    with disk(tmp_path / "disk", "size=64k") as small:
        with pytest.raises(OSError, match="No space") as caught:
            (small / "x").write_bytes(bytes(10**6))
        assert meaning(caught.value, folder=small) == f"the disk is full ({small}): free some space"


@contextmanager
def _too_many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with ExitStack() as opened:
            with suppress(OSError):
                while True:
                    opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_open_files_are_called_so_by_all_who_open_some(tmp_path: Path):
    capture(tmp_path / "x" / "a.pcap")
    found = capture_at(tmp_path, "x/a.pcap")
    (tmp_path / "server.json").write_text('{"pid": 1, "http_port": 1, "pg_port": 1}')
    (tmp_path / "server.lock").touch()
    sentences = []
    with _too_many_files():
        sentences.append(sniff(found))
        for opens in (
            lambda: Database("127.0.0.1", 1, 1, "admin", "x").connect().__enter__(),
            lambda: server_folder.find(tmp_path),
            lambda: open_capture(found),
            lambda: sha256_of(found),
            Tshark.find,
        ):
            with pytest.raises((OSError, CaptureUnreadableError)) as caught:
                opens()
            sentences.append(sentence(caught.value))
    for each in sentences:
        assert each is not None
        assert (
            "this process has as many files open as it may: raise the limit with `ulimit -n 65536`"
            in each
        ), each
        assert "readable for this user" not in each


def test_every_error_of_the_system_has_words():
    for number in errno.errorcode:
        assert meaning(OSError(number, os.strerror(number)))


def test_a_valid_name_is_taken_in_every_locale(tmp_path: Path):
    settings = Settings(
        _env_file=None, data_dir=tmp_path / "data", enrichment="none", backends="parquet"
    )
    path = capture(tmp_path / "café 測定.pcap")
    more = {
        "LC_ALL": "POSIX",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "MT_BACKENDS": "parquet",
    }
    result = ended(program("ingest", path, settings=settings, env=environment(settings, **more)))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("café 測定/café 測定.pcap: 2 packets, 2 rows in ")
