"""The services of compose.yml as processes: from a copied capture to rows, and the death of each.

Grafana and its renderer are missing: nothing on this machine runs them.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline_tests.compose import Stack, can_mount, postgres_programs
from mt_pipeline_tests.pipelines import PACKETS, capture, files_below, rows
from mt_pipeline_tests.services import eventually, open_to_others, rows_so_far

ORDER = ("postgres", "questdb", "code-server", "webserver", "explorer", "daemon")
SECRETS = {
    "mt_questdb_password": "may do all, it's $0",
    "mt_questdb_reader_password": "may only read",
    "mt_netify_api_key": "",
    "postgres_password": "p@ss:w/o rd%20",
    "gf_security_admin_password": "of Grafana",
    "gf_rendering_renderer_token": "of the renderer",
}
ALL = [(number,) for number in range(1, PACKETS + 1)]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a watched folder somewhere on the machine."""
    return tmp_path_factory.mktemp("captures")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, inbox: Path) -> Iterator[Stack]:
    if not postgres_programs():
        pytest.skip("PostgreSQL is not there: `make test` installs it")
    given = {"MT_INBOX": str(inbox), "MT_SETTLE_SECONDS": "1", "MT_ENRICHMENT": "none"}
    stack = Stack(tmp_path_factory.mktemp("stack"), given, SECRETS)
    with stack.running(ORDER):
        yield stack


def database(stack: Stack, user: str = "admin", of: str = "mt_questdb_password") -> Database:
    return Database("127.0.0.1", stack.port(9000), stack.port(8812), user, SECRETS[of])


def arrived(stack: Stack, experiment: str) -> bool:
    """Wait until the capture of an experiment can be read."""
    return eventually(lambda: rows_so_far(database(stack), experiment) == ALL)


@pytest.fixture(scope="module")
def dropped(stack: Stack, inbox: Path) -> Stack:
    """Drop a capture and wait for its rows."""
    capture(inbox / "kitchen" / "a.pcap")
    assert arrived(stack, "kitchen"), stack.log("daemon") + stack.log("code-server")
    return stack


def restarted(stack: Stack, name: str) -> None:
    stack.kill(name)
    assert name == "daemon" or not stack.is_healthy(
        name
    )  # its last sign of life counts for some minutes
    stack.start(name)


def test_the_capture_lies_where_it_lay_and_what_was_made_of_it_in_the_volume(
    dropped: Stack, inbox: Path
):
    assert files_below(inbox) == ["kitchen/a.pcap"]
    assert (dropped.place("/data/ledger.sqlite")).is_file()
    assert not dropped.place("/data/inbox").exists()


def test_dagster_keeps_its_state_in_postgres(dropped: Stack):
    with psycopg.connect(
        host="127.0.0.1",
        port=dropped.port(5432),
        user="dagster",
        password=SECRETS["postgres_password"],
        dbname="dagster",
    ) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert [
        file for file in files_below(dropped.place("/data/dagster")) if file.endswith(".db")
    ] == []


def test_the_reader_reads_and_cannot_write(dropped: Stack):
    reader = database(dropped, "reader", "mt_questdb_reader_password")

    assert rows(reader, "kitchen") == ALL
    with (
        reader.connect() as connection,
        pytest.raises(psycopg.DatabaseError, match="permission denied"),
    ):
        connection.execute("INSERT INTO captured_packets (ts, capture) VALUES (0, 'x')")
    assert rows(reader, "kitchen") == ALL


def test_the_explorer_shows_what_was_dropped(dropped: Stack):
    page = f"http://127.0.0.1:{dropped.port(3002)}"

    def packets() -> int:
        found = requests.get(f"{page}/api/view?e=kitchen", timeout=60).json()
        return found["totals"]["packets"]

    assert eventually(lambda: packets() == PACKETS)  # flows follow the packets
    cut = requests.get(f"{page}/download/packets.pcapng?e=kitchen", timeout=60)
    assert cut.ok, cut.text
    assert cut.content.startswith(b"\x0a\x0d\x0d\x0a")
    restarted(dropped, "explorer")  # nothing waits for it
    assert packets() == PACKETS


def test_nobody_comes_in_with_the_passwords_that_questdb_has_by_default(stack: Stack):
    for user in ("admin", "user"):
        with pytest.raises(BackendError, match="refuses the user"):
            rows(
                Database("127.0.0.1", stack.port(9000), stack.port(8812), user, "quest"), "kitchen"
            )
    asked = requests.get(
        f"http://127.0.0.1:{stack.port(9000)}/exec",
        params={"query": "SELECT 1"},
        auth=("admin", "quest"),
        timeout=10,
    )
    assert asked.status_code == requests.codes.unauthorized


def test_over_http_even_the_first_user_only_reads(dropped: Stack):
    auth = ("admin", SECRETS["mt_questdb_password"])
    url = f"http://127.0.0.1:{dropped.port(9000)}"
    refused = requests.get(
        f"{url}/exec", params={"query": "DROP TABLE captured_packets"}, auth=auth, timeout=120
    )
    read = requests.get(
        f"{url}/exec",
        params={"query": "SELECT count() FROM captured_packets"},
        auth=auth,
        timeout=120,
    )

    assert "permission denied" in refused.json()["error"]
    assert read.json()["dataset"] == [[PACKETS]]
    assert eventually(lambda: files_below(dropped.place("/imports")) == []), (
        "batches are deleted when they are read"
    )


def test_no_secret_is_in_the_environment_of_a_process(dropped: Stack):
    shown = [dropped.environment(name) for name in ORDER] + [
        environment for _, environment in dropped.processes()
    ]

    assert len(shown) > 2 * len(ORDER)
    assert [
        name
        for environment in shown
        for name, value in environment.items()
        if value in SECRETS.values() and value
    ] == []


def test_every_process_has_as_few_rights_as_its_container(dropped: Stack):
    seen = 0
    for process, _ in dropped.processes():
        try:
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            )
            mounts = [
                line.split()
                for line in Path(f"/proc/{process.pid}/mounts").read_text().splitlines()
            ]
        except OSError:  # it has ended meanwhile
            continue
        seen += 1
        assert status["NoNewPrivs"] == "1", process
        if os.geteuid() == 0:
            assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {
                "0" * 16
            }, process
        if can_mount():
            [*_, root] = [options.split(",") for _, place, _, options, *_ in mounts if place == "/"]
            assert "ro" in root, process
    assert seen >= len(ORDER)


def test_what_they_make_is_for_their_account_alone(dropped: Stack):
    assert open_to_others(dropped.place("/data")) == []


def test_a_command_beside_the_code_server_sees_the_same(dropped: Stack):
    def listed() -> list[tuple[str, str, int]]:
        result = dropped.run(
            "code-server", "python", "-m", "mt_pipeline.cli.main", "status", "--json"
        )
        return [
            (entry["key"], entry["state"], entry["rows"]) for entry in json.loads(result.stdout)
        ]

    # Rows can be read a moment before the ledger has its verdict.
    assert eventually(lambda: listed() == [("kitchen/a.pcap", "done", PACKETS)]), listed()


def test_captures_become_rows_after_each_database_was_killed_and_none_is_lost(
    dropped: Stack, inbox: Path
):
    restarted(dropped, "postgres")
    restarted(dropped, "questdb")
    capture(inbox / "databases" / "b.pcap")
    restarted(dropped, "webserver")  # nothing waits for it

    assert arrived(dropped, "databases"), dropped.log("daemon") + dropped.log("code-server")
    assert rows(database(dropped), "kitchen") == ALL


def test_captures_become_rows_after_each_process_of_dagster_was_killed(dropped: Stack, inbox: Path):
    restarted(dropped, "code-server")
    restarted(dropped, "daemon")
    capture(inbox / "dagster" / "c.pcap")
    assert arrived(dropped, "dagster"), dropped.log("daemon") + dropped.log("code-server")
    found = requests.post(
        f"http://127.0.0.1:{dropped.port(3000)}/graphql",
        json={
            "query": (
                "{workspaceOrError{...on Workspace{locationEntries{name loadStatus "
                "locationOrLoadError{__typename}}}}}"
            )
        },
        timeout=30,
    ).json()["data"]["workspaceOrError"]["locationEntries"]
    assert found == [
        {
            "name": "mt_pipeline",
            "loadStatus": "LOADED",
            "locationOrLoadError": {"__typename": "RepositoryLocation"},
        }
    ]


def test_the_web_server_answers_no_other_site(stack: Stack):
    """With Dagster's own, a picture on any page changed the data."""
    ui = f"http://127.0.0.1:{stack.port(3000)}"

    assert (
        requests.get(
            f"{ui}/graphql", params={"query": "mutation {setNuxSeen}"}, timeout=30
        ).status_code
        == 405
    )
    assert requests.get(ui, headers={"Host": "evil.example"}, timeout=30).status_code == 421
    assert (
        requests.get(
            ui, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, timeout=30
        ).status_code
        == 403
    )
    assert (
        requests.post(
            f"{ui}/graphql",
            json={"query": "{version}"},
            headers={"Origin": "http://evil.example"},
            timeout=30,
        ).status_code
        == 403
    )


def test_each_of_them_ends_when_it_is_asked_to(dropped: Stack):
    """The last test of this stack."""
    assert {name: dropped.stop(name) for name in reversed(ORDER)} == {
        name: 143 if name == "questdb" else 0 for name in ORDER
    }
    assert " I " not in dropped.log("questdb"), "it would log every statement"
