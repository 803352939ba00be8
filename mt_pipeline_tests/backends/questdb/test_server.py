"""The embedded server: how it starts, which settings it has, who may use it, how it ends."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from mt_pipeline.backends.questdb import java
from mt_pipeline.backends.questdb.classes import prepared_jar
from mt_pipeline.backends.questdb.jar import VERSION, jar
from mt_pipeline.backends.questdb.server import Server, start, use
from mt_pipeline.backends.questdb.server_errors import (
    DidNotStart,
    FolderInUse,
    FolderUnusable,
    JarDiffers,
    JarMissing,
    PortTaken,
    ServerError,
)
from mt_pipeline.backends.questdb.server_folder import Address, find
from mt_pipeline_tests.conftest import READER
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.system.test_processes import is_gone, only_linux

FREE = {"http_port": 0, "pg_port": 0, "user": "admin", "password": "quest"}
SECRET = "s3cret'pass word"


def execute(
    server: Address, sql: str, *, auth: tuple[str, str] = ("admin", "quest")
) -> requests.Response:
    return requests.get(
        f"http://127.0.0.1:{server.http_port}/exec", params={"query": sql}, auth=auth, timeout=10
    )


def select(
    server: Address, sql: str, *, user: str = "admin", password: str = FREE["password"]
) -> list[tuple[object, ...]]:
    with psycopg.connect(
        host="127.0.0.1",
        port=server.pg_port,
        user=user,
        password=password,
        dbname="qdb",
        autocommit=True,
    ) as connection:
        return connection.execute(sql, prepare=False).fetchall()


def done(server: Address, sql: str, **login: str) -> bool:
    """Have a statement done that has no rows."""
    with psycopg.connect(
        host="127.0.0.1", port=server.pg_port, dbname="qdb", autocommit=True, **login
    ) as connection:
        return connection.execute(sql, prepare=False).rownumber is None


def our_java() -> set[int]:
    return {
        child.pid for child in psutil.Process().children(recursive=True) if child.name() == "java"
    }


@contextmanager
def command(script: str, *, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in a process of its own, which talks to us by lines."""
    head = (
        "import json, sys\nfrom pathlib import Path\n"
        "from mt_pipeline.backends.questdb.server import Server, start, use\n"
        "folder = Path(sys.argv[1])\n"
    )
    argv = [sys.executable, "-c", head + script, str(folder)]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_it_answers_its_user_over_http_and_postgresql(questdb: Server):
    assert questdb.poll() is None
    assert execute(questdb, "SELECT 6 * 7").json()["dataset"] == [[42]]
    assert select(questdb, "SELECT 6 * 7") == [(42,)]


def test_it_answers_nobody_else(questdb: Server):
    assert execute(questdb, "SELECT 1", auth=("admin", "guess")).status_code == 401
    with pytest.raises(psycopg.OperationalError):
        select(questdb, "SELECT 1", password="guess")


def test_it_listens_on_this_machine_only_and_on_two_ports_only(questdb: Server):
    connections = psutil.Process(questdb.pid).net_connections(kind="all")
    listening = {
        tuple(connection.laddr)
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", questdb.http_port), ("127.0.0.1", questdb.pg_port)}


def test_a_wide_table_with_a_few_rows_takes_little_disk(questdb: Server):
    # With QuestDB's own page sizes: 937 MB.
    columns = (
        ", ".join(f"c{i} SYMBOL" for i in range(20))
        + ", "
        + ", ".join(f"d{i} INT" for i in range(20))
    )
    assert execute(
        questdb, f"CREATE TABLE wide (ts TIMESTAMP, {columns}) TIMESTAMP(ts) PARTITION BY DAY WAL"
    ).ok
    values = ", ".join(["'x'"] * 20 + ["1"] * 20)
    for second in range(5):
        assert execute(questdb, f"INSERT INTO wide VALUES ({second}000000, {values})").ok
    select(questdb, "SELECT wait_wal_table('wide')")
    assert select(questdb, "SELECT count() FROM wide") == [(5,)]
    files = list((questdb.folder / "db").glob("wide~*/**/*"))
    assert len(files) > 40
    assert sum(file.stat().st_blocks * 512 for file in files) < 40 * 2**20
    execute(questdb, "DROP TABLE wide")


def test_ilp_makes_no_table_by_itself(questdb: Server):
    url = f"http://127.0.0.1:{questdb.http_port}/write"
    answer = requests.post(
        url, data="stray,a=b c=1i 1700000000000000000\n", auth=("admin", "quest"), timeout=10
    )
    assert answer.status_code == 400
    assert execute(questdb, "SELECT count() FROM tables() WHERE table_name = 'stray'").json()[
        "dataset"
    ] == [[0]]


def test_its_log_does_not_grow_with_every_statement(questdb: Server):
    execute(questdb, "SELECT 'not in the log'")
    log = (questdb.folder / java.LOG).read_text()
    assert "listening on" in log
    assert "not in the log" not in log


def test_a_running_server_is_found(questdb: Server):
    assert find(questdb.folder) == Address(questdb.pid, questdb.http_port, questdb.pg_port)


def test_a_server_that_was_killed_is_not_found_even_if_its_process_id_lives_on(
    questdb: Server, tmp_path: Path
):
    record = json.loads((questdb.folder / "server.json").read_text())
    for name in ("server.json", "server.lock"):
        shutil.copy(questdb.folder / name, tmp_path)
    assert psutil.pid_exists(record["pid"])
    assert find(tmp_path) is None


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", '{"pid": 1}'])
def test_a_damaged_record_is_no_server(tmp_path: Path, record: str):
    (tmp_path / "server.json").write_text(record)
    assert find(tmp_path) is None


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(questdb: Server):
    with pytest.raises(
        FolderInUse, match=f"{questdb.folder}, as process {questdb.pid};.*MT_DATA_DIR"
    ):
        start(questdb.folder, **FREE)
    assert find(questdb.folder)
    assert select(questdb, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("port", "setting"), [("http_port", "MT_QUESTDB_HTTP_PORT"), ("pg_port", "MT_QUESTDB_PG_PORT")]
)
def test_a_taken_port_is_refused_with_who_has_it_and_the_setting(
    questdb: Server, tmp_path: Path, port: str, setting: str
):
    before = our_java()
    with pytest.raises(PortTaken) as refused:
        start(tmp_path, **FREE | {port: getattr(questdb, port)})
    who = f"java \\(process {questdb.pid}\\)" if shutil.which("ss") else "another program"
    assert refused.match(f"127.0.0.1:{getattr(questdb, port)}: {who} already does.*{setting}")
    assert find(tmp_path) is None
    assert our_java() == before


def test_a_start_that_fails_says_what_questdb_said(tmp_path: Path):
    with pytest.raises(
        DidNotStart, match=f"(?i)status 1.*too small maximum heap.*{tmp_path / java.LOG}"
    ):
        start(tmp_path, **FREE, heap="1k")
    assert find(tmp_path) is None


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(
        FolderUnusable, match=f"{tmp_path}/file/questdb .*a file is where a folder.*MT_DATA_DIR"
    ):
        start(tmp_path / "file" / "questdb", **FREE)
    with (
        pytest.raises(FolderUnusable, match="a file is where a folder is needed"),
        use(tmp_path / "file" / "questdb", **FREE),
    ):
        pass


def test_the_reader_reads_and_can_do_nothing_else(questdb: Server):
    login = {"user": READER.name, "password": READER.password}
    execute(questdb, "CREATE TABLE for_the_reader (x INT)")
    execute(questdb, "INSERT INTO for_the_reader VALUES (42)")

    assert select(questdb, "SELECT x FROM for_the_reader", **login) == [(42,)]
    for statement in (
        "INSERT INTO for_the_reader VALUES (1)",
        "CREATE TABLE of_the_reader (x INT)",
        "DROP TABLE for_the_reader",
    ):
        with pytest.raises(psycopg.DatabaseError, match="permission denied"):
            select(questdb, statement, **login)
    assert (
        execute(questdb, "SELECT 1", auth=(READER.name, READER.password)).status_code
        == requests.codes.unauthorized
    )
    assert READER.password not in repr(READER)


@only_linux
def test_a_full_disk_is_refused_before_questdb_fills_the_rest(tmp_path: Path):
    disk = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"',
        str(tmp_path),
    ]
    if subprocess.run([*disk, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    script = (
        "from pathlib import Path\nfrom mt_pipeline.backends.questdb.server import start\n"
        f"start(Path({str(tmp_path)!r}), http_port=0, pg_port=0, user='a', password='b')"
    )
    done = subprocess.run(
        [*disk, sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert f"FolderUnusable: {tmp_path} cannot hold QuestDB's data: its disk has " in done.stderr


@only_linux
def test_a_stopped_server_is_gone_and_a_killed_owner_takes_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QDB_PG_ENABLED", "false")  # of another QuestDB of the user's
    login = {"user": "someone", "password": SECRET}
    with start(tmp_path, http_port=0, pg_port=0, **login) as server:
        assert done(server, "CREATE TABLE kept AS (SELECT 42 x)", **login)
        assert find(tmp_path)
        assert SECRET not in " ".join(psutil.Process(server.pid).cmdline())
        assert not [
            path for path in tmp_path.glob("*") if path.is_file() and SECRET in path.read_text()
        ]
    assert is_gone(server.pid, 0)
    assert find(tmp_path) is None
    server.stop()  # again does nothing

    ports = {"http_port": server.http_port, "pg_port": server.pg_port}
    script = (
        f"server = start(folder, **{ports | login!r})\n"
        "print(server.pid, flush=True)\nsys.stdin.read()"
    )
    with command(script, folder=tmp_path) as owner:
        pid = int(owner.stdout.readline())
        assert find(tmp_path) == Address(pid, **ports)
        assert select(server, "SELECT x FROM kept", **login) == [(42,)]
        owner.kill()
        owner.wait()
        assert is_gone(pid)
        assert eventually(lambda: find(tmp_path) is None)


def test_who_comes_later_keeps_the_server_until_done(tmp_path: Path):
    folder = tmp_path / "a folder of 'Dätä'"
    script = f"""
with use(folder, **{FREE!r}) as server:
    found = [isinstance(server, Server), server.pid, server.http_port, server.pg_port]
    print(json.dumps(found), flush=True)
    sys.stdin.readline()
"""
    # The C locale: Java would not find a folder of this name.
    with (
        command(script, folder=folder, LC_ALL="C") as one,
        command(script, folder=folder, LC_ALL="C") as two,
        command(script, folder=folder, LC_ALL="C") as three,
    ):
        addresses = {
            process: json.loads(process.stdout.readline()) for process in (one, two, three)
        }
        owner, guest, killed = sorted(
            addresses, key=lambda process: addresses[process][0], reverse=True
        )
        assert [addresses[process][0] for process in (owner, guest, killed)] == [True, False, False]
        assert addresses[owner][1:] == addresses[guest][1:] == addresses[killed][1:]
        address = Address(*addresses[owner][1:])
        killed.kill()
        owner.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            owner.wait(1)
        assert select(address, "SELECT 1") == [(1,)]
        guest.stdin.close()
        assert (guest.wait(60), owner.wait(60)) == (0, 0)
        assert is_gone(address.pid, 0)


def test_the_jar_that_is_there_needs_no_network(
    questdb: Server, no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert jar().name == f"questdb-{VERSION}.jar"
    monkeypatch.setenv("M2_REPO", str(tmp_path))  # where there is none
    assert str(prepared_jar()) in psutil.Process(questdb.pid).cmdline()


def test_a_cache_of_classes_that_java_cannot_use_costs_no_start(tmp_path: Path):
    (tmp_path / "other.aot").write_bytes(b"of another Java")
    with start(
        tmp_path / "data", **FREE, options=[f"-XX:AOTCache={tmp_path / 'other.aot'}"]
    ) as server:
        assert select(server, "SELECT 1") == [(1,)]


def test_another_jar_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    jar = tmp_path / f"org/questdb/questdb/{VERSION}/questdb-{VERSION}.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"not as released")
    with pytest.raises(JarDiffers, match=f"{jar} is not QuestDB.*make setup"):
        prepared_jar(tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def test_a_jar_that_cannot_be_fetched_is_one_line_for_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
):
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    with pytest.raises(JarMissing, match=r"cannot be fetched.*make setup"):
        jar()
    done = subprocess.run(
        [sys.executable, "-m", "mt_pipeline.backends.questdb.jar"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("QuestDB's jar cannot be fetched")
    assert done.stderr.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_every_error_is_of_one_tree():
    for kind in (DidNotStart, FolderInUse, FolderUnusable, JarDiffers, JarMissing, PortTaken):
        assert issubclass(kind, ServerError)
