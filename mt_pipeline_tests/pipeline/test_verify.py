"""What is compared, what differs, and that rows which a power cut took are there again."""

import json
import os
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb import removal
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State
from mt_pipeline.defs.checks import verified
from mt_pipeline.defs.markdown import escaped
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.verify import Repaired, after_a_crash, differences, load_again
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline_tests.backends.questdb.parts import load, packets
from mt_pipeline_tests.cli.test_ingest import Terminal
from mt_pipeline_tests.pipelines import (
    PASSWORD,
    Lab,
    Result,
    capture,
    ended,
    program,
    rows,
    settings_of,
)
from mt_pipeline_tests.services import free_ports
from mt_pipeline_tests.soaking.servers import Spare


@pytest.fixture
def loaded(lab: Lab, terminal: Terminal, request: pytest.FixtureRequest) -> str:
    """Load a capture of an experiment of this test."""
    key = f"{request.node.originalname}/a.pcap"
    assert terminal("ingest", lab.put(key)).code == 0
    return key


def told(terminal: Terminal, key: str, *more: str) -> tuple[int, list[str]]:
    result = terminal("verify", "--capture", key, *more)
    assert result.err == ""
    return result.code, result.out.splitlines()


def test_of_what_is_as_it_should_be_nothing_is_said(terminal: Terminal, loaded: str):
    assert told(terminal, loaded) == (0, ["0 differences"])


def test_rows_that_are_missing_are_named_and_are_loaded_again(
    lab: Lab, terminal: Terminal, loaded: str
):
    removal.remove(lab.database, loaded)
    missing = f"{loaded}: QuestDB has 0 of its 2 rows: load it again"

    assert told(terminal, loaded) == (1, [missing, "1 difference"])
    assert f"- {escaped(missing, longest=500)}" in str(
        verified(lab.workspace()).metadata["found"].value
    )
    assert told(terminal, loaded, "--repair") == (
        1,
        [missing, "1 difference; 1 capture is loaded again"],
    )
    assert lab.record(loaded).state is State.WAITING
    assert terminal("ingest", lab.inbox / Path(loaded).parent).code == 0
    assert told(terminal, loaded) == (0, ["0 differences"])


def test_a_capture_that_is_worked_on_is_not_given_back(lab: Lab, terminal: Terminal, loaded: str):
    removal.remove(lab.database, loaded)

    with lab.workspace().ledger.lock(loaded):
        assert (
            told(terminal, loaded, "--repair")[1][-1]
            == "1 difference; 0 captures are loaded again; left, as somebody works on them: 1"
        )
    assert lab.record(loaded).state is State.DONE


def test_a_capture_and_an_experiment_together_are_a_wrong_use(terminal: Terminal):
    assert terminal("verify", "--capture", "a/b.pcap", "--name", "a").code == 2


@pytest.mark.parametrize("command", ["verify", "purge", "refresh"])
def test_an_empty_text_is_a_wrong_use_and_not_all_captures(terminal: Terminal, command: str):
    told = terminal(command, "--capture", "")
    assert (told.code, "it is empty" in told.err) == (2, True)


def test_what_was_loaded_since_it_was_compared_is_not_loaded_once_more(
    lab: Lab, terminal: Terminal, loaded: str
):
    removal.remove(lab.database, loaded)
    found = [one for one in differences(lab.workspace()) if one.key == loaded]
    assert terminal("ingest", lab.inbox / loaded).code == 0

    assert load_again(lab.workspace(), found) == Repaired(again=0, busy=0)
    assert lab.record(loaded).state is State.DONE


def test_rows_of_a_file_that_has_left_are_loaded_again_from_documents_if_these_are_there(
    lab: Lab, terminal: Terminal, loaded: str
):
    removal.remove(lab.database, loaded)
    (lab.inbox / loaded).unlink()
    left = f"{loaded}: QuestDB has 0 of its 2 rows: its file has left the inbox"

    assert (
        told(terminal, loaded)[1][1]
        == f"{left}, but `mt-pipeline verify --repair` has it loaded again from its documents"
    )
    assert told(terminal, loaded, "--repair")[1][-1] == "2 differences; 1 capture is loaded again"
    assert loaded in [record.key for record in lab.workspace().ledger.due_for_refresh()]
    assert (
        terminal("refresh", "--capture", loaded).out == "1 captures: 1 loaded again, 0 unchanged\n"
    )
    assert told(terminal, loaded)[1][-1] == "1 difference"

    removal.remove(lab.database, loaded)
    CaptureFiles(lab.data, loaded).delete()
    lines = told(terminal, loaded, "--repair")[1]
    assert (
        f"{left} and its documents are gone, so it cannot be loaded again until the file is back"
        in lines
    )
    assert lines[-1] == "3 differences; 0 captures are loaded again"


def test_files_of_the_parquet_data_set_are_compared_too(
    lab: Lab, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_BACKENDS", "questdb,parquet")
    key = "in_parquet/a.pcap"
    assert terminal("ingest", lab.put(key)).code == 0
    assert told(terminal, key) == (0, ["0 differences"])
    [packets] = (lab.data / "parquet" / "packets" / "experiment=in_parquet").rglob("*.parquet")
    [flows] = (lab.data / "parquet" / "flows" / "experiment=in_parquet").rglob("*.parquet")
    flows.unlink()

    assert told(terminal, key)[1][0].startswith(
        f"{key}: in Parquet its flows have 0 packets and 0 bytes, its rows 2 and "
    )
    packets.write_bytes(packets.read_bytes()[:-20])
    assert told(terminal, key, "--repair") == (
        1,
        [
            f"{key}: Parquet has 0 of its 2 rows: load it again",
            "1 difference; 1 capture is loaded again",
        ],
    )
    assert terminal("ingest", lab.inbox / "in_parquet").code == 0
    assert told(terminal, key) == (0, ["0 differences"])


def test_other_bytes_of_the_same_size_and_time_are_found(lab: Lab, terminal: Terminal, loaded: str):
    path = lab.inbox / loaded
    before = path.stat()
    capture(path, "xyz.example.com")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size

    assert told(terminal, loaded) == (0, ["0 differences"])
    other = (
        f"{loaded}: its file has other bytes than the one that was loaded, "
        "though size and time are the same: load it again"
    )
    assert told(terminal, loaded, "--hash", "--repair") == (
        1,
        [other, "1 difference; 1 capture is loaded again"],
    )
    assert terminal("ingest", path.parent).code == 0
    assert told(terminal, loaded, "--hash") == (0, ["0 differences"])
    assert {name for (name,) in lab.rows(loaded.partition("/")[0], ("dns_name",), key=loaded)} == {
        "xyz.example.com"
    }


def test_documents_that_cannot_all_be_read_are_named_with_the_file(
    lab: Lab, terminal: Terminal, loaded: str
):
    path = CaptureFiles(lab.data, loaded).documents(lab.record(loaded).documents or "")
    path.write_bytes(path.read_bytes()[:-10])

    assert told(terminal, loaded) == (0, ["0 differences"])
    assert told(terminal, loaded, "--hash") == (
        1,
        [
            f"{loaded}: 0 of its 2 documents can be read: "
            f"delete {path}, and the next load runs tshark again",
            "1 difference",
        ],
    )


def test_flows_that_are_missing_are_named(lab: Lab, terminal: Terminal, loaded: str):
    with lab.database.connect() as connection:
        keys = "ts, capture, conversation"
        connection.execute(
            f"INSERT INTO flows ({keys}, load, gone) "
            f"SELECT {keys}, load, true FROM flows WHERE capture = %s",
            (loaded,),
        )
        connection.execute("SELECT wait_wal_table('flows')")

    code, lines = told(terminal, loaded)

    assert (code, len(lines)) == (1, 2)
    assert lines[0].startswith(
        f"{loaded}: in QuestDB its flows have 0 packets and 0 bytes, its rows 2 and "
    )


def test_files_that_are_gone_or_changed_are_named(lab: Lab, terminal: Terminal, loaded: str):
    capture(lab.inbox / loaded, "another.example.com")
    CaptureFiles(lab.data, loaded).delete()

    changed = (
        f"{loaded}: its file has changed since it was loaded: "
        "the service, or `mt-pipeline ingest`, loads it again"
    )
    documents = f"{loaded}: its documents are gone: the next load runs tshark again"
    assert told(terminal, loaded) == (1, [changed, documents, "2 differences"])
    (lab.inbox / loaded).unlink()
    gone = f"{loaded}: its file is gone from the inbox; its rows stay until you purge it"
    result = terminal("verify", "--capture", loaded, "--json")
    assert json.loads(result.out)[0] == {
        "key": loaded,
        "what": gone.partition(": ")[2],
        "rows": False,
    }


def test_rows_of_a_purged_capture_are_named(lab: Lab, terminal: Terminal, loaded: str):
    lab.workspace().ledger.purge(loaded)

    assert told(terminal, loaded) == (
        1,
        [f"{loaded}: it was purged, but QuestDB has 2 rows of it: purge it again", "1 difference"],
    )


def test_a_capture_that_nobody_knows_is_one_line(terminal: Terminal):
    told = terminal("verify", "--capture", "no/such.pcap")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("mt-pipeline: no capture no/such.pcap; ")
    assert told.err.endswith("`mt-pipeline status` lists what there is\n")
    assert told.err.count("\n") == 1


def test_rows_that_a_power_cut_took_are_there_again_after_the_next_start(tmp_path: Path):
    http, pg = free_ports(2)
    database = Database("127.0.0.1", http, pg, "admin", PASSWORD)
    settings = settings_of(tmp_path / "data", database, questdb_host=None)
    for name in ("a", "b"):
        capture(settings.inbox_dir / "cut" / f"{name}.pcap", f"{name}.example.com")
    running = Workspace(settings.options()).start_questdb()
    assert ended(program("ingest", settings.inbox_dir, settings=settings)).code == 0
    running.process.kill()
    running.process.wait()
    with Workspace(settings.options()).start_questdb(), database.connect() as connection:
        before = rows(database, "cut", ("capture", "ts", "frame_number", "frame_len"))
        connection.execute(
            "TRUNCATE TABLE captured_packets"
        )  # as if none of it had reached the disk

    told = ended(program("ingest", settings.inbox_dir, settings=settings))
    again = ended(program("ingest", settings.inbox_dir, settings=settings))

    lines = {f"cut/{name}.pcap: 2 packets, 2 rows in packets_cut" for name in ("a", "b")}
    assert (told.code, set(told.out.splitlines())) == (0, lines)
    assert told.err == (
        "QuestDB was not stopped in order the last time: "
        "rows of 2 captures are not as they were; 2 are loaded again\n"
        "experiment cut: 2 captures\n"
    )
    assert again == Result(0, "2 of 2 captures are in already\n", "")
    with Workspace(settings.options()).start_questdb():
        assert rows(database, "cut", ("capture", "ts", "frame_number", "frame_len")) == before
    assert {record.state for record in Ledger(settings.data_dir / "ledger.sqlite").records()} == {
        State.DONE
    }


def test_tables_that_cannot_be_read_after_a_crash_stop_no_start_and_are_verified_again(
    tmp_path: Path,
):
    folder = tmp_path / "data" / "questdb"
    spare = Spare(folder, user="admin", password=PASSWORD)
    try:
        load(spare.database, packets(2_000), capture="lost/a.pcap", experiment="lost")
        spare.kill()
        for file in folder.glob("db/captured_packets~*/2023-11*/frame_len.d"):
            with file.open("rb+") as lengths:
                lengths.truncate(100)
        spare.start_again()
        settings = settings_of(
            tmp_path / "data",
            spare.database,
            questdb_host=None,
            questdb_reader="admin",
            questdb_reader_password=PASSWORD,
        )
        workspace = Workspace(settings.options())

        told = after_a_crash(workspace) or ""
        assert (
            "what is missing cannot be told: "
            "QuestDB cannot read its files of 1 partitions of captured_packets" in told
        )
        assert (
            f"move {folder} away, then `mt-pipeline verify --repair` "
            f"and `mt-pipeline ingest {workspace.inbox}`" in told
        )
        assert workspace.has_crashed
        with spare.database.connect() as connection:
            connection.execute(told.split("`")[1])
        capture(workspace.inbox / "lost" / "a.pcap")
        workspace.ledger.claim(capture_at(workspace.inbox, "lost/a.pcap"), run="x")
        workspace.ledger.finish(
            "lost/a.pcap", sha256="0", documents=None, packets=2_000, rows=2_000, skipped={}
        )
        with workspace.ledger.lock("lost/a.pcap"):
            assert "0 are loaded again; 1 are being worked on, and are looked at again" in (
                after_a_crash(workspace) or ""
            )
        assert workspace.has_crashed
        assert "rows of 1 captures are not as they were; 1 are loaded again" in (
            after_a_crash(workspace) or ""
        )
        assert not workspace.has_crashed
    finally:
        spare.stop()
