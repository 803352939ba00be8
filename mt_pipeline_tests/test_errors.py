"""Errors of the system come with their meaning and a cure, wherever they are raised."""

import errno
import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from mt_pipeline.backends.questdb import server, server_folder
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.first_bytes import sniff
from mt_pipeline.captures.identity import (
    CaptureUnreadableError,
    capture_at,
    open_capture,
    sha256_of,
)
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.errors import meaning
from mt_pipeline.pipeline.failures import sentence
from mt_pipeline.settings import Settings
from mt_pipeline.tshark.command import Tshark
from mt_pipeline_tests.disks import disk
from mt_pipeline_tests.pipelines import capture, ended, environment, program

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")


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


@only_root
def test_a_disk_with_a_few_inodes_left_is_not_called_full(tmp_path: Path):
    """What failed for lack of them gives some back before somebody looks."""
    with disk(tmp_path / "disk", "size=1m,nr_inodes=700") as small:
        (small / "x").write_bytes(bytes(10**5))
        for number in range(690):
            (small / f"{number}").touch()
        left = os.statvfs(small).f_favail
        assert 0 < left < 10
        error = OSError(errno.ENOSPC, "No space left on device")
        assert meaning(error, folder=small).startswith(f"the disk has {left} inodes left ({small})")
        (small / "full").write_bytes(bytes(os.statvfs(small).f_bavail * 4096))
        assert meaning(error, folder=small) == f"the disk is full ({small}): free some space"


def _fill_bytes(folder: Path) -> None:
    with suppress(OSError):
        (folder / "full").write_bytes(bytes(10**7))


def _fill_inodes(folder: Path) -> None:
    with suppress(OSError):
        for number in range(1000):
            (folder / f"{number}").touch()


@only_root
@pytest.mark.parametrize(
    ("fill", "reason"), [(_fill_bytes, "the disk is full"), (_fill_inodes, "has no inodes left")]
)
def test_sqlite_that_hides_why_is_said_as_what_it_is(
    tmp_path: Path, fill: Callable[[Path], None], reason: str
):
    """It says `disk I/O error` or `unable to open database file`, as of broken disks or modes."""
    with disk(tmp_path / "disk", "size=4m,nr_inodes=100") as small:
        Ledger(small / "ledger.sqlite")
        gc.collect()  # its connections have all files that they need
        history = small / "dagster" / "history"
        history.mkdir(parents=True)
        engine = sa.create_engine(f"sqlite:///{history}/runs.db", poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            connection.exec_driver_sql("CREATE TABLE runs (run TEXT)")
        fill(small)
        with pytest.raises(LedgerError, match=reason):
            Ledger(small / "ledger.sqlite").records()
        with pytest.raises(sa.exc.DBAPIError) as caught, engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO runs VALUES ('x')")
        said = sentence(caught.value, folder=small)
    assert said.startswith(f"a database of Dagster in {history} cannot be used (")
    assert reason in said
    assert "SQL" not in said
    assert "sqlalche.me" not in said


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
    Ledger(tmp_path / "ledger.sqlite")
    (tmp_path / "questdb").mkdir()
    server_arguments = {"http_port": 0, "pg_port": 0, "user": "admin", "password": "x"}
    sentences = []
    with _too_many_files():
        sentences.append(sniff(found))
        for opens in (
            lambda: Database("127.0.0.1", 1, 1, "admin", "x").connect().__enter__(),
            lambda: server_folder.find(tmp_path),
            lambda: open_capture(found),
            lambda: sha256_of(found),
            Tshark.find,
            lambda: Ledger(tmp_path / "ledger.sqlite"),
            lambda: server.use(tmp_path / "questdb", **server_arguments).__enter__(),
        ):
            with pytest.raises((OSError, CaptureUnreadableError, LedgerError)) as caught:
                opens()
            sentences.append(sentence(caught.value))
    for each in sentences:
        assert each is not None
        assert (
            "this process has as many files open as it may: raise the limit with `ulimit -n 65536`"
            in each
        ), each
        assert "readable for this user" not in each
        assert "MT_DATA_DIR" not in each


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
