"""Small captures of a run are loaded together, and none of them costs the others anything."""

import threading

import pytest

from mt_pipeline.captures.records import State
from mt_pipeline.pipeline import batch
from mt_pipeline.pipeline import load as loading
from mt_pipeline.pipeline.stages import Stages
from mt_pipeline_tests.backends.questdb.parts import Threads, select
from mt_pipeline_tests.pipelines import PACKETS, Lab

KEYS = ["a.pcap", "b.pcap", "c.pcap"]


def keys_of(lab: Lab, experiment: str) -> list[str]:
    keys = [f"{experiment}/{name}" for name in KEYS]
    for key in keys:
        lab.put(key)
    return keys


def loads_of(lab: Lab, experiment: str) -> list[tuple]:
    return select(lab.database, f"SELECT DISTINCT load FROM captured_packets WHERE experiment = '{experiment}' AND NOT gone")


def test_small_captures_are_rows_of_one_load_each_with_its_own(lab: Lab):
    keys = keys_of(lab, "grouped")

    ran = lab.run(*keys)

    assert ran.success
    assert ran.materialised() == keys
    assert len(loads_of(lab, "grouped")) == 1
    assert lab.rows("grouped", ("capture", "frame_number")) == [(key, number) for key in keys for number in range(1, PACKETS + 1)]
    assert [ran.metadata("questdb_packets", key)["rows"] for key in keys] == [PACKETS] * 3
    assert [lab.record(key).rows for key in keys] == [PACKETS] * 3


@pytest.mark.parametrize(("limit", "value"), [("_MOST", 1), ("_BYTES", 1), ("_SECONDS", 0), ("_LARGE", 1)])
def test_what_is_enough_is_loaded_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, limit: str, value: int):
    monkeypatch.setattr(batch, limit, value)
    experiment = f"enough{limit.lower()}"

    assert lab.run(*keys_of(lab, experiment)).success

    assert len(loads_of(lab, experiment)) == 3


def test_files_of_a_rotation_are_loaded_one_by_one_as_each_goes_on_where_the_last_one_ended(lab: Lab):
    assert lab.run(*keys_of(lab, "not_grouped"), workspace=lab.workspace(rotation=True)).success

    assert len(loads_of(lab, "not_grouped")) == 3


def test_a_load_that_fails_for_one_is_made_for_each_of_the_others(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    keys, load = keys_of(lab, "one_fails"), loading.load
    tried: list[list[str]] = []

    def refuses(workspace: object, captures: dict) -> dict:
        tried.append(list(captures))
        if keys[1] in captures:
            raise OSError(28, "No space left on device")
        return load(workspace, captures)

    monkeypatch.setattr(loading, "load", refuses)
    with caplog.at_level("WARNING"):
        ran = lab.run(*keys)

    assert "3 captures cannot be loaded together, so each is by itself: [Errno 28]" in caplog.text
    assert tried == [keys, *([key] for key in keys)]
    assert ran.failure.startswith("1 of 3 captures failed, the others are done. one_fails/b.pcap")
    assert [lab.record(key).state for key in keys] == [State.DONE, State.WAITING, State.DONE]
    assert ran.materialised() == [keys[0], keys[2]]
    monkeypatch.undo()
    assert lab.run(keys[1]).success
    assert len(lab.rows("one_fails")) == 3 * PACKETS


def test_a_questdb_that_is_away_is_waited_for_once_not_once_for_each(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    keys, load, tried = keys_of(lab, "all_away"), loading.load, []
    monkeypatch.setattr(batch, "_SECONDS", 600)
    monkeypatch.setattr(loading, "load", lambda workspace, captures: (tried.append(len(captures)), load(workspace, captures))[1])

    ran = lab.run(*keys, workspace=lab.workspace(questdb_pg_port=1))

    assert tried == [3]
    assert not ran.success
    assert {lab.record(key).state for key in keys} == {State.WAITING}
    assert all("QuestDB does not answer at 127.0.0.1:1" in (lab.record(key).error or "") for key in keys)


def test_a_run_that_is_stopped_gives_back_those_that_wait_for_their_load(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    keys, answers = keys_of(lab, "stopped_waiting"), Stages.netify_enrichment
    monkeypatch.setattr(batch, "_SECONDS", 600)

    def stops(stages: Stages, **how: object) -> None:
        if stages.key == keys[1]:
            raise KeyboardInterrupt
        answers(stages, **how)

    monkeypatch.setattr(Stages, "netify_enrichment", stops)
    assert not lab.run(*keys).success

    assert [lab.record(key).state for key in keys[:2]] == [State.FAILED] * 2
    assert lab.record(keys[0]).error == f"{keys[0]}: its run was cancelled; launch it again"
    for key in keys:
        with lab.workspace().ledger.lock(key, timeout=0):
            pass
    monkeypatch.undo()
    assert lab.run(*keys[:2]).success
    assert len(lab.rows("stopped_waiting")) == 2 * PACKETS


def test_two_runs_over_the_same_captures_in_opposite_order_do_not_wait_for_each_other(lab: Lab):
    """Each holds the locks of those that wait for their load; a lock is waited for by nobody who holds another."""
    keys = keys_of(lab, "crossing")
    ledger, ended = lab.workspace().ledger, []
    holding = threading.Event()

    def hold() -> None:
        with ledger.lock(keys[2]):
            holding.set()
            with ledger.lock(keys[0]):
                ended.append(keys[0])

    with Threads() as threads:
        threads.start(hold)
        holding.wait(60)
        assert lab.run(*keys).success
    assert ended == [keys[0]]
    assert len(lab.rows("crossing")) == 3 * PACKETS


def test_typed_packets_that_somebody_deleted_are_made_again_and_harm_nobody(lab: Lab):
    keys = keys_of(lab, "typed_deleted")
    assert lab.run(*keys).success
    before = lab.rows("typed_deleted", ("capture", "frame_number", "tls_sni"))
    for path in (lab.data / "endpoints" / "typed_deleted").rglob("*.packets.parquet"):
        path.unlink()

    for key in keys:
        assert lab.run(key).success

    assert lab.rows("typed_deleted", ("capture", "frame_number", "tls_sni")) == before


def test_the_time_of_a_load_is_that_of_its_captures(lab: Lab):
    keys = keys_of(lab, "shared_time")
    ran = lab.run(*keys)
    [seconds] = {ran.metadata("questdb_packets", key)["seconds"] for key in keys}  # they have as many packets
    assert seconds > 0
