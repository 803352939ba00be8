"""What is in memory: bounded, read once, read anew when captures changed, and by whom it waits."""

import io
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pyarrow.parquet
import pytest
from starlette.responses import Response

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.explorer import reading
from mt_pipeline.explorer import store as storing
from mt_pipeline.explorer.answers import as_json, of
from mt_pipeline.explorer.listing import Links, experiments
from mt_pipeline.explorer.store import Store
from mt_pipeline.pipeline.session import session
from mt_pipeline.state.advisory import Locks
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.conftest import LOGIN
from mt_pipeline_tests.explorer.conftest import BOTH
from mt_pipeline_tests.explorer.counting import shown, sums
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded, file_of, view_of
from mt_pipeline_tests.pipelines import PACKETS, Lab, capture, open_lab
from mt_pipeline_tests.services import free_ports
from mt_pipeline_tests.soaking.servers import Spare


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the experiments that are read, as they are."""
    found, read, lock = list[str](), Store._read, threading.Lock()

    def noting(self: Store, experiment: str) -> object:
        with lock:
            found.append(experiment)
        return read(self, experiment)

    monkeypatch.setattr(Store, "_read", noting)
    monkeypatch.setattr(storing, "_LOOK_SECONDS", 0)
    return found


@pytest.fixture(scope="module")
def long(lab: Lab) -> str:
    """Load a capture of many seconds."""
    frames = [
        frame
        for number in range(300)
        for frame in dns(f"n{number}.example.com", client_port=41_000 + number)
    ]
    (lab.inbox / "long").mkdir()
    write_pcap(lab.inbox / "long" / "a.pcap", timed(frames, step_ns=400_000_000))
    workspace = lab.workspace(backends=BOTH, enrichment="offline")
    assert lab.run("long/a.pcap", workspace=workspace).success
    return "long"


@pytest.mark.parametrize("backend", BOTH)
def test_of_what_does_not_fit_whole_seconds_are_shown_and_it_is_said(
    loaded: Loaded, long: str, backend: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "_ROWS", 20)
    whole = loaded.store(backend).get(long).frame
    store = loaded.store(backend, most=whole.nbytes // 2)
    seen = view_of(store, urlencode({"e": long}))
    held = store.get(long).frame

    last = int(held.flows.second[-1])
    rows = store.session.flows(long).arrow().to_pylist()
    within = [row for row in rows if row["ts"].timestamp() <= last]
    assert len(rows) // 4 < len(within) < len(rows)
    assert shown(seen["totals"]) == sums(within)
    assert str(seen["partial"]).startswith("Only a part is in view, as memory is used up: long un")
    assert "MT_EXPLORER_MEMORY_MB" in str(seen["partial"])
    assert held.nbytes <= whole.nbytes // 2
    content = file_of(loaded, store, "packets.parquet", urlencode({"e": long}))
    packets = pyarrow.parquet.read_table(io.BytesIO(content))
    assert packets.num_rows == sums(within)[2]


def test_those_used_longest_ago_leave_first(loaded: Loaded, reads: list[str]):
    sizes = {name: loaded.store("parquet").get(name).frame.nbytes for name in (FIRST, SECOND)}
    store = loaded.store("parquet", most=sum(sizes.values()) - 1)
    reads.clear()
    for name in (SECOND, FIRST, FIRST, SECOND):
        store.get(name)

    assert reads == [SECOND, FIRST, SECOND]
    assert [held.experiment for held in store.in_memory()] == [SECOND]


def test_both_stay_if_both_fit(loaded: Loaded, reads: list[str]):
    store = loaded.store("parquet")
    for name in (SECOND, FIRST, "Explored", SECOND):
        store.get(name)

    assert reads == [SECOND, FIRST]


@pytest.mark.parametrize("backend", BOTH)
def test_an_experiment_that_changed_is_read_anew_and_others_are_not(
    lab: Lab, loaded: Loaded, backend: str, reads: list[str]
):
    workspace = lab.workspace(backends=BOTH, enrichment="offline")
    name = f"changing_{backend}"
    store = loaded.store(backend)
    for number, key in enumerate((f"{name}/a.pcap", f"{name}/b.pcap"), start=1):
        lab.put(key)
        assert lab.run(key, workspace=workspace).success
        for _ in range(2):
            seen = view_of(store, urlencode({"e": name}))
            assert seen["totals"]["packets"] == number * PACKETS
            store.get(SECOND)

    assert reads == [name, SECOND, name]
    before = view_of(store, urlencode({"e": name}))["version"]
    store_again = view_of(loaded.store(backend), urlencode({"e": name}))
    assert store_again["version"] == before


def test_what_a_page_sees_in_the_list_is_in_its_view_at_once(lab: Lab, loaded: Loaded):
    """A view that was asked for within a second of the one before had the captures of that one."""
    workspace = lab.workspace(backends=BOTH, enrichment="offline")
    store = loaded.store("parquet")
    for number, key in enumerate(("at_once/a.pcap", "at_once/b.pcap"), start=1):
        lab.put(key)
        assert lab.run(key, workspace=workspace).success
        store._looked["at_once"] = time.monotonic() + 60  # as if it had been looked just now
        listed = {each["name"]: each for each in experiments(store, Links())["experiments"]}
        assert listed["at_once"]["loaded"] == number
        assert view_of(store, "e=at_once")["totals"]["packets"] == number * PACKETS


def test_what_was_purged_leaves(lab: Lab, loaded: Loaded, reads: list[str]):
    key = "purged/a.pcap"
    lab.put(key)
    workspace = lab.workspace(backends=BOTH, enrichment="offline")
    assert lab.run(key, workspace=workspace).success
    store = loaded.store("parquet")
    before = view_of(store, "e=purged")["version"]
    workspace.ledger.purge(key)

    assert view_of(store, "e=purged")["version"] != before
    assert reads == ["purged", "purged"]


def test_what_is_being_loaded_again_counts_once_it_is_loaded(
    lab: Lab, loaded: Loaded, reads: list[str]
):
    key = "again/a.pcap"
    path = lab.put(key)
    workspace = lab.workspace(backends=BOTH, enrichment="offline")
    assert lab.run(key, workspace=workspace).success
    store = loaded.store("parquet")
    store.get("again")
    workspace.ledger.claim(capture_at(lab.inbox, key), run="another")
    store.get("again")
    assert reads == ["again"]

    write_pcap(path, timed(tls_session()))
    assert lab.run(key, workspace=workspace).success
    assert view_of(store, "e=again")["totals"]["packets"] == len(tls_session())
    assert reads == ["again", "again"]


def test_one_thread_reads_and_others_wait_for_it(loaded: Loaded, reads: list[str]):
    store = loaded.store("questdb")
    found = list[object]()
    threads = [threading.Thread(target=lambda: found.append(store.get(FIRST))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert reads == [FIRST]
    assert len({id(held) for held in found}) == 1


@pytest.mark.parametrize("near", [True], indirect=True)
def test_while_questdb_is_away_it_says_so_and_then_answers(
    spare: Spare, tmp_path: Path, near: bool
):
    with open_lab(tmp_path / "data", spare.address) as lab:
        workspace = lab.workspace(
            questdb_user=LOGIN["user"], questdb_password=LOGIN["password"], enrichment="offline"
        )
        capture(lab.inbox / "away" / "a.pcap")
        assert lab.run("away/a.pcap", workspace=workspace).success
        store = Store(session(workspace, as_reader=True), most=10**8)

        def answer() -> object:
            return of(lambda: as_json(view_of(store, "e=away")))

        spare.kill()
        away = answer()
        spare.start_again()
        back = answer()

    assert away.status_code == 503
    assert away.headers["Retry-After"] == "2"
    assert b"QuestDB does not answer" in away.body
    assert LOGIN["password"].encode() not in away.body
    assert back.status_code == 200
    assert f'"packets":{PACKETS}'.encode() in back.body


def test_while_the_postgres_of_the_state_is_away_it_says_so():
    """Regression: a lock in a Postgres that was away was called a fault of the explorer."""
    [port] = free_ports(1)
    locks = Locks(Postgres(f"postgresql://lab@127.0.0.1:{port}/db", "s3cret"), "views")

    def answer() -> Response:
        with locks.alone():
            return as_json("there")

    away = of(answer)

    assert away.status_code == 503
    assert b"see that Postgres runs there" in away.body
    assert b"s3cret" not in away.body
