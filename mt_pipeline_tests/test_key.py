"""Netify's key is in requests, but in no file, output or argument, however a run ends."""

import base64
import logging
import mmap
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.backends.questdb.server import Server
from mt_pipeline.errors import SettingsError
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.pipelines import Lab, capture, ended, environment, open_lab, program
from mt_pipeline_tests.services import free_ports

KEY = f"key{secrets.token_hex(20)}"
EVERYWHERE = "findme"
"""It is in names of captures and servers: a search that finds it would find the key."""

HOLDER = """
import select, sqlite3, sys
from pathlib import Path
opened = {}
while not select.select([sys.stdin], [], [], 0.05)[0]:
    folder = Path(sys.argv[1])
    for file in {*folder.rglob("*.db"), *folder.rglob("*.sqlite")} - set(opened):
        try:
            with file.open("rb") as head:
                has_log = head.read(20)[18:] == bytes([2, 2])
            if has_log:
                opened[file] = sqlite3.connect(file)
                opened[file].execute("SELECT count(*) FROM sqlite_master").fetchall()
        except (OSError, sqlite3.Error):
            pass
"""


@pytest.fixture
def netify(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNetify]:
    """Serve a fake Netify for one test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeNetify() as fake:
        yield fake


def forms(text: str) -> list[bytes]:
    """Write a text as it is, as Java does, in hexadecimal digits and as a header might."""
    plain = text.encode()
    return [
        plain,
        text.encode("utf-16-le"),
        plain.hex().encode(),
        base64.b64encode(plain).rstrip(b"="),
    ]


def files_with(folder: Path, text: str) -> set[str]:
    """Name the files that hold a text, as it is or in what they compress."""
    found = set()
    for file in folder.rglob("*"):
        if not file.is_file() or not file.stat().st_size:
            continue
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as content,
        ):
            has_key = any(content.find(form) >= 0 for form in forms(text))
        if file.suffix == ".parquet":
            has_key |= text in str((pq.read_schema(file).metadata, pq.read_table(file).to_pylist()))
        if file.suffix == ".zst":
            has_key |= text.encode() in pa.input_stream(file, compression="zstd").read()
        if has_key:
            found.add(str(file.relative_to(folder)))
    return found


@contextmanager
def logs_stay(folder: Path) -> Iterator[None]:
    """Keep every new SQLite database below a folder open, so that its write-ahead log stays.

    The last process that closes a database deletes the log. It is another process, because one that
    closes a file loses all locks that it has on it.
    """
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE) as holder:
        yield
        holder.communicate()


def arguments() -> set[bytes]:
    """Return the arguments of all processes of this machine."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.add((process / "cmdline").read_bytes())
    return found


def holds(text: bytes) -> bool:
    """Return whether the key is in it."""
    return any(form in text for form in forms(KEY))


def assert_nowhere(folder: Path, *texts: str) -> None:
    assert files_with(folder, KEY) == set()
    assert [text for text in texts if holds(text.encode())] == []


def assert_sent(netify: FakeNetify, requests: int) -> None:
    """The key was in its header, and in nothing else that was sent."""
    seen = netify.requests()
    assert len(seen) == requests
    for request in seen:
        assert request.header("x-api-key") == [KEY]
        assert not holds(
            str(
                (
                    request.target,
                    [pair for pair in request.headers if pair[0].lower() != "x-api-key"],
                )
            ).encode()
        )


def test_runs_that_end_well_and_badly_leave_the_key_in_no_file_and_no_message(
    tmp_path: Path,
    questdb: Server,
    netify: FakeNetify,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    caplog.set_level(logging.DEBUG)
    with FakeNetify() as closed:
        pass
    cases: dict[str, dict[str, object]] = {
        "well": {},
        "refused": {},
        "not there": {"netify_url": closed.url},
    }
    with open_lab(tmp_path / "data", questdb) as lab, logs_stay(tmp_path):
        messages = [_ran(lab, netify, case, changes) for case, changes in cases.items()]
        for name, value in (("netify_url", f"nowhere/{KEY}"), ("netify_api_key", f"{KEY}“")):
            with pytest.raises(SettingsError, match=f"^MT_{name.upper()} is ") as refused:
                _workspace(lab, netify, {name: value})
            messages.append(str(refused.value))
        found = files_with(tmp_path, EVERYWHERE)
        assert_nowhere(tmp_path, *messages, caplog.text, *capfd.readouterr())
    assert len(caplog.records) > 100
    for place in ("-wal", "ledger.sqlite", ".parquet", ".ndjson.zst", "history/runs"):
        assert any(place in name for name in found), f"{place}: what is everywhere is found there"
    assert_sent(netify, 2)
    assert "MT_NETIFY_API_KEY" in messages[1]
    assert "cannot be reached" in messages[2]


def _ran(lab: Lab, netify: FakeNetify, case: str, changes: dict[str, object]) -> str:
    """Run the job over a capture, and return all that its events say."""
    key = f"{EVERYWHERE} {case}/a.pcap"
    capture(lab.inbox / key, f"www.{EVERYWHERE}.com")
    if case == "refused":
        netify.say(status=401)
    workspace = _workspace(lab, netify, changes)
    ran = lab.run(key, workspace=workspace)
    assert ran.success
    return "\n".join(
        [
            repr(workspace),
            repr(vars(workspace.options)),
            *map(repr, ran.instance.all_logs(ran.run_id)),
        ]
    )


def test_a_terminal_and_all_that_it_starts_leave_the_key_in_no_file_no_output_and_no_argument(
    tmp_path: Path, netify: FakeNetify
):
    """Of two captures the second is refused. QuestDB's files are below the data folder, too."""
    http, pg = free_ports(2)
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        enrichment="netify,offline",
        questdb_http_port=http,
        questdb_pg_port=pg,
        questdb_password="quest",
    )
    netify.say(delay=0.5)
    netify.say("9.9.9.9", status=401, delay=0.5)
    (tmp_path / "tmp").mkdir()
    file = capture(tmp_path / f"{EVERYWHERE}.pcap")
    refused = write_pcap(tmp_path / "refused.pcap", timed(dns(resolver="9.9.9.9")))
    asks = {
        "MT_NETIFY_API_KEY": KEY,
        "MT_NETIFY_URL": netify.url,
        "TMPDIR": str(tmp_path / "tmp"),
        "NO_PROXY": "127.0.0.1",
    }
    started = program("ingest", file, refused, settings=settings, env=environment(settings, **asks))
    seen = arguments()
    with logs_stay(tmp_path):
        while started.poll() is None:
            seen |= arguments()
            time.sleep(0.05)
        result = ended(started)
        found = files_with(tmp_path, EVERYWHERE)
        assert_nowhere(tmp_path, result.out, result.err)
    assert result.code == 0, result.err
    everything = b"\n".join(seen)
    assert os.fsencode(file) in everything
    assert b"questdb" in everything
    assert not holds(everything)
    for place in ("-wal", "ledger.sqlite", "history/runs", "questdb/db"):
        assert any(place in name for name in found), f"{place}: what is everywhere is found there"
    assert_sent(netify, 2)


def _workspace(lab: Lab, netify: FakeNetify, changes: dict[str, object]) -> Workspace:
    asks = {
        "enrichment": "netify",
        "netify_api_key": KEY,
        "netify_url": netify.url,
        "netify_rate": 1000,
        "data_dir": lab.data,
        "answer_days": 0,
    }
    return lab.workspace(**{**asks, **changes})
