"""An inbox in a store: everything that works with a watched folder works with it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.api.cutting import RefusedError
from mt_pipeline.captures.duplicates import copies
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.records import State
from mt_pipeline.captures.s3 import Bucket
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline import capacity
from mt_pipeline.pipeline.session import session
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline_tests.pipelines import PACKETS, Lab, Result, capture, files_below
from mt_pipeline_tests.s3 import S3

Terminal = Callable[..., Result]


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return capture(tmp_path / "made.pcap").read_bytes()


@pytest.fixture
def far(
    lab: Lab, store: S3, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Workspace]:
    """Have the inbox of the lab in the store; return a function that opens its rooms."""
    monkeypatch.setenv("MT_INBOX", store.url)
    return lambda **changes: lab.workspace(**{"inbox": store.url, "settle_seconds": 0} | changes)


def looked(lab: Lab, workspace: Workspace) -> dg.SensorResult | dg.SkipReason:
    """Look twice, so that what is there has settled."""
    context = dg.build_sensor_context(instance=lab.instance)
    first = tick(context, workspace)
    return first if isinstance(first, dg.SensorResult) else tick(context, workspace)


def test_a_capture_put_into_the_bucket_becomes_rows_through_the_sensor(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes
):
    store.put("far away/in/monday.pcap", content)
    store.put("far away/text.pcap", b"Dear all")
    store.put("far away//odd.pcap", content)
    before, workspace = store.stored(), far()

    result = looked(lab, workspace)

    assert isinstance(result, dg.SensorResult)
    assert [each.partition_key for each in result.run_requests] == ["far away/in/monday.pcap"]
    assert lab.run("far away/in/monday.pcap", workspace=workspace).success
    record = lab.record("far away/in/monday.pcap")
    assert (record.state, record.packets, record.label) == (State.DONE, PACKETS, "in")
    assert record.path == f"{store.url}/far away/in/monday.pcap"
    assert len(lab.rows("far_away")) == PACKETS
    states = {each.key: each.state for each in workspace.ledger.records(experiment="far_away")}
    assert states["far away/text.pcap"] is State.REFUSED
    assert states["far away//odd.pcap"] is State.REFUSED
    assert store.stored() == before
    assert not [name for name in files_below(lab.data) if name.endswith("monday.pcap")]
    assert isinstance(looked(lab, workspace), dg.SkipReason)


def test_an_object_that_is_replaced_is_loaded_again(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes, tmp_path: Path
):
    store.put("replaced/a.pcap", content)
    workspace = far()
    looked(lab, workspace)
    assert lab.run("replaced/a.pcap", workspace=workspace).success

    store.put("replaced/a.pcap", capture(tmp_path / "b.pcap", "another.org").read_bytes())
    result = looked(lab, workspace)

    assert isinstance(result, dg.SensorResult)
    assert lab.run("replaced/a.pcap", workspace=workspace).success
    assert {name for (name,) in lab.rows("replaced", ("dns_name",))} == {"another.org"}


def test_a_store_that_is_away_loses_nothing_and_is_said(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes
):
    store.put("away/a.pcap", content)
    workspace = far()
    looked(lab, workspace)

    with store.account(**store.variables() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
        result = looked(lab, workspace)
        ran = lab.run("away/a.pcap", workspace=workspace)
        record = lab.record("away/a.pcap")

    assert isinstance(result, dg.SkipReason)
    assert "does not answer" in (result.skip_message or "")
    assert not ran.success
    assert f"the inbox {store.url} cannot be read (EndpointConnectionError)" in ran.failure
    assert record.state is State.WAITING
    assert lab.run("away/a.pcap", workspace=workspace).success
    assert lab.record("away/a.pcap").state is State.DONE


def test_an_object_that_may_not_be_read_waits_and_nothing_else(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes
):
    store.put("denied/a.pcap", content)
    workspace = far()
    with store.account(**store.guarded("s3:ListBucket")):
        result = looked(lab, workspace)
    assert isinstance(result, dg.SkipReason)
    assert "denied/a.pcap cannot be read (AccessDenied): allow" in (result.skip_message or "")
    assert lab.record("denied/a.pcap").state is State.WAITING


def test_an_object_that_is_deleted_before_its_run_is_forgotten(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes
):
    store.put("deleted/a.pcap", content)
    workspace = far()
    looked(lab, workspace)
    store.delete("deleted/a.pcap")

    assert lab.run("deleted/a.pcap", workspace=workspace).success
    assert workspace.ledger.get("deleted/a.pcap") is None


def test_a_copy_wants_room(store: S3, far: Callable[..., Workspace]):
    huge = Capture("huge/a.pcap", Bucket(store.url), 10**18, 0)

    with pytest.raises(capacity.NoRoomError, match="a copy of it needs 1,000,000,000 GB of disk"):
        capacity.check_copy(far().options, huge)


def test_what_is_loaded_from_a_store_is_verified_refreshed_cut_reported_and_purged(
    lab: Lab,
    store: S3,
    far: Callable[..., Workspace],
    terminal: Terminal,
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)  # where the report goes
    store.put("whole/a.pcap", content)
    store.put("whole/b.pcap", content)
    loaded = terminal("ingest", f"{store.url}/whole")
    assert loaded.code == 0, loaded.err
    assert loaded.out.count("2 packets, 2 rows in packets_whole") == 2
    assert copies(far().ledger.records())["whole/b.pcap"] == "whole/a.pcap"

    again = terminal("ingest", f"{store.url}/whole/")
    assert (again.code, again.out) == (0, "2 of 2 captures are in already\n")
    one = terminal("ingest", f"{store.url}/whole/a.pcap")
    assert (one.code, one.out.count("2 rows")) == (0, 1)
    assert terminal("verify", "--name", "whole", "--hash").code == 0
    assert terminal("refresh", "whole").code == 0
    assert terminal("report", "whole").code == 0
    assert "2" in terminal("status").out

    output = tmp_path / "cut.pcapng"
    cut = terminal("cut", "whole", "--output", output)
    assert cut.code == 0, cut.err
    assert f"{output}: 4 packets of 2 captures" in cut.out
    store.put("whole/b.pcap", content + content[24:])
    with (
        session(far()) as asked,
        pytest.raises(RefusedError, match="has changed since it was loaded"),
    ):
        asked.cut("whole", tmp_path / "none.pcapng")
    assert not (tmp_path / "none.pcapng").exists()
    store.delete("whole/b.pcap")
    said = terminal("verify", "--name", "whole")
    assert "whole/b.pcap: its file is gone from the inbox" in said.out + said.err

    assert terminal("purge", "--name", "whole", "--yes").code == 0
    assert lab.record("whole/a.pcap").state is State.PURGED
    assert "field/2026/whole/a.pcap" in store.stored()
    left = [name for name in files_below(lab.data) if "/.cut-" in name or "/.follow-" in name]
    assert left == []


def test_what_a_terminal_cannot_do_with_a_store_is_said(
    lab: Lab, store: S3, far: Callable[..., Workspace], terminal: Terminal, tmp_path: Path
):
    local = terminal("ingest", capture(tmp_path / "x.pcap"))
    assert local.code == 2
    assert f"the inbox is {store.url}, which cannot have a link to {tmp_path}/x.pcap" in local.err
    outside = terminal("ingest", "s3://another/x.pcap")
    assert outside.code == 2
    assert "s3://another/x.pcap is not below the inbox" in outside.err
    missing = terminal("ingest", f"{store.url}/nothing")
    assert missing.code == 2
    assert f"no capture in {store.url}/nothing" in missing.err
    demo = terminal("demo")
    assert demo.code == 1
    assert f"{store.url} is only read: set MT_INBOX to a folder" in demo.err


def test_a_url_for_a_watched_folder_is_wrong_usage(lab: Lab, terminal: Terminal):
    result = terminal("ingest", "s3://bucket/x.pcap")

    assert result.code == 2
    assert "s3://bucket/x.pcap is not below the inbox" in result.err


def test_files_of_one_rotation_settle_in_a_store(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes
):
    workspace = far(settle_seconds=1000)
    for number in (1, 2):
        store.put(f"ring/r_0000{number}_2026010112000{number}.pcap", content)
        time.sleep(1.1)  # stores tell seconds

    result = looked(lab, workspace)

    assert isinstance(result, dg.SensorResult)
    assert [each.partition_key for each in result.run_requests] == [
        "ring/r_00001_20260101120001.pcap"
    ]


def test_programs_that_read_captures_do_not_get_the_account(
    lab: Lab, store: S3, far: Callable[..., Workspace], content: bytes, tmp_path: Path
):
    told = tmp_path / "told"
    program = tmp_path / "tshark"
    program.write_text(f'#!/bin/sh\nenv >> {told}\nexec tshark "$@"\n')
    program.chmod(0o755)
    store.put("told/a.pcap", content)

    assert lab.run("told/a.pcap", workspace=far(tshark=str(program))).success

    assert "PATH=" in told.read_text()
    assert "AWS_" not in told.read_text()
    assert os.environ["AWS_SECRET_ACCESS_KEY"]


def test_a_store_that_cannot_be_asked_ends_a_command_with_a_sentence(
    store: S3, far: Callable[..., Workspace], terminal: Terminal
):
    with store.account(**store.variables() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
        result = terminal("ingest", store.url)
    assert result.code == 1
    assert "does not answer: see to the network" in result.err
    assert "Traceback" not in result.err
