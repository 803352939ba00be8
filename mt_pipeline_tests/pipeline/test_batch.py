"""Small captures of a run are loaded together, and none of them costs the others anything."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mt_pipeline.captures.naming import file_name_of
from mt_pipeline.captures.records import State
from mt_pipeline.pipeline.batch import Limits, run_captures
from mt_pipeline.pipeline.failures import Failed
from mt_pipeline.pipeline.observer import AnswersFound, RowsLoaded, StageDone
from mt_pipeline.pipeline.progress import WAITING
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline_tests.backends.questdb.parts import Threads, select
from mt_pipeline_tests.observers import Memory
from mt_pipeline_tests.pipelines import PACKETS, Lab

KEYS = ["a.pcap", "b.pcap", "c.pcap"]


def keys_of(lab: Lab, experiment: str) -> list[str]:
    keys = [f"{experiment}/{name}" for name in KEYS]
    for key in keys:
        lab.put(key)
    return keys


def run_of(
    lab: Lab,
    keys: Sequence[str],
    *,
    workspace: Workspace | None = None,
    memory: Memory | None = None,
    limits: Limits | None = None,
) -> list[Failed]:
    """Take captures through all stages without Dagster."""
    with Run(workspace or lab.workspace(), memory or Memory(), id="run") as run:
        return run_captures(run, keys, limits=limits)


def loads_of(lab: Lab, experiment: str) -> list[tuple]:
    return select(
        lab.database,
        "SELECT DISTINCT load FROM captured_packets "
        f"WHERE experiment = '{experiment}' AND NOT gone",
    )


def test_small_captures_are_rows_of_one_load_each_with_its_own(lab: Lab):
    keys = keys_of(lab, "grouped")

    ran = lab.run(*keys)

    assert ran.success
    assert ran.materialised() == keys
    assert len(loads_of(lab, "grouped")) == 1
    assert lab.rows("grouped", ("capture", "frame_number")) == [
        (key, number) for key in keys for number in range(1, PACKETS + 1)
    ]
    assert [ran.metadata("questdb_packets", key)["rows"] for key in keys] == [PACKETS] * 3
    assert [lab.record(key).rows for key in keys] == [PACKETS] * 3


@pytest.mark.parametrize(
    "limits",
    [Limits(captures=1), Limits(packet_bytes=1, few=0), Limits(seconds=0), Limits(large=1)],
    ids=str,
)
def test_what_is_enough_is_loaded_at_once(lab: Lab, limits: Limits):
    experiment = f"enough_{abs(hash(limits))}"

    assert run_of(lab, keys_of(lab, experiment), limits=limits) == []

    assert len(loads_of(lab, experiment)) == 3


def test_files_of_a_rotation_are_loaded_one_by_one_as_each_goes_on_where_the_last_one_ended(
    lab: Lab,
):
    assert lab.run(*keys_of(lab, "not_grouped"), workspace=lab.workspace(rotation=True)).success

    assert len(loads_of(lab, "not_grouped")) == 3


def assert_only_the_second_failed(
    workspace: Workspace, keys: Sequence[str], memory: Memory
) -> None:
    """Of three captures: in the ledger, and by what a run reported."""
    records = [workspace.ledger.get(key) for key in keys]
    assert [record and record.state for record in records] == [State.DONE, State.FAILED, State.DONE]
    loaded = [done.key for done in memory.stages if isinstance(done, RowsLoaded)]
    assert loaded == [keys[0], keys[2]]


def assert_all_are_stored(workspace: Workspace, keys: Sequence[str]) -> None:
    [backend] = workspace.backends()
    stored = {key: counts.rows for key, counts in backend.stored(thorough=False).items()}
    assert stored == dict.fromkeys(keys, PACKETS)


def test_a_load_that_fails_for_one_is_made_for_each_of_the_others(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    workspace = lab.workspace(data_dir=tmp_path, inbox=lab.inbox, backends=("parquet",))
    keys, memory = keys_of(lab, "one_fails"), Memory()
    in_the_way = tmp_path / "parquet" / ".loading" / file_name_of(keys[1])
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where the load of this capture makes a folder")

    with caplog.at_level("WARNING"):
        [failed] = run_of(lab, keys, workspace=workspace, memory=memory)

    assert "3 captures cannot be loaded together, so each is by itself: [Errno 20]" in caplog.text
    assert failed.key == keys[1]
    assert_only_the_second_failed(workspace, keys, memory)
    in_the_way.unlink()
    assert run_of(lab, [keys[1]], workspace=workspace) == []
    assert_all_are_stored(workspace, keys)


def test_captures_that_cannot_be_derived_together_are_by_themselves(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    workspace = lab.workspace(data_dir=tmp_path, inbox=lab.inbox, backends=("parquet",))
    keys, memory = keys_of(lab, "one_underived"), Memory()
    in_the_way = tmp_path / "endpoints" / "one_underived" / file_name_of(keys[1])
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where the typed packets of this capture have their folder")

    with caplog.at_level("WARNING"):
        [failed] = run_of(lab, keys, workspace=workspace, memory=memory)

    assert "3 captures cannot be derived together, so each is by itself: [Errno 17]" in caplog.text
    assert failed.key == keys[1]
    assert_only_the_second_failed(workspace, keys, memory)
    in_the_way.unlink()
    assert run_of(lab, [keys[1]], workspace=workspace) == []
    assert_all_are_stored(workspace, keys)


def test_captures_of_more_packets_than_may_wait_share_a_load_too(lab: Lab):
    keys = keys_of(lab, "not_so_few")

    assert run_of(lab, keys, limits=Limits(few=PACKETS - 1)) == []

    assert len(loads_of(lab, "not_so_few")) == 1
    assert [lab.record(key).rows for key in keys] == [PACKETS] * 3


def test_a_questdb_that_is_away_is_waited_for_once_not_once_for_each(lab: Lab):
    keys, waited = keys_of(lab, "all_away"), []

    def progress(key: str, doing: str, done: int, total: int | None = None) -> None:
        if doing == WAITING:
            waited.append(key)

    workspace = replace(lab.workspace(questdb_pg_port=1, questdb_wait_seconds=3), progress=progress)
    failures = run_of(lab, keys, workspace=workspace, limits=Limits(seconds=600))

    assert waited
    assert waited == keys * (len(waited) // len(keys)), (
        "all wait together, and none after the others"
    )
    assert [failure.key for failure in failures] == keys
    assert {lab.record(key).state for key in keys} == {State.WAITING}
    assert all(
        "QuestDB does not answer at 127.0.0.1:1" in (lab.record(key).error or "") for key in keys
    )


def test_a_run_that_is_stopped_gives_back_those_that_wait_for_their_load(lab: Lab):
    keys = keys_of(lab, "stopped_waiting")

    @dataclass
    class Interrupted(Memory):
        """A person cancels the run when the second capture has its answers."""

        def stage_done(self, done: StageDone) -> None:
            if isinstance(done, AnswersFound) and done.key == keys[1]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(lab, keys, memory=Interrupted(cancelled=True), limits=Limits(seconds=600))

    assert [lab.record(key).state for key in keys[:2]] == [State.FAILED] * 2
    assert lab.record(keys[0]).error == f"{keys[0]}: its run was cancelled; launch it again"
    for key in keys:
        with lab.workspace().ledger.lock(key, timeout=0):
            pass
    assert run_of(lab, keys[:2]) == []
    assert len(lab.rows("stopped_waiting")) == 2 * PACKETS


def test_two_runs_over_the_same_captures_in_opposite_order_do_not_wait_for_each_other(lab: Lab):
    """Each holds the locks of the captures in its batch, so neither may wait for another lock."""
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
    [seconds] = {
        ran.metadata("questdb_packets", key)["seconds"] for key in keys
    }  # they have as many packets
    assert seconds > 0
