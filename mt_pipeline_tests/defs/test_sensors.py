"""What the sensor requests, look by look. Each test has a data folder, and its runs never start."""

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.records import LedgerError, State
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs import sensors
from mt_pipeline.defs.recovery import ENQUEUE_SECONDS, START_SECONDS, TERMINAL
from mt_pipeline.defs.runs import ARCHIVE, DROPPED, PRIORITY, covered
from mt_pipeline.defs.sensors import new_captures, tick
from mt_pipeline_tests.pipelines import Lab, capture

SETTLE = 0.2


class Watch:
    """The sensor on a folder of its own, and the instance that all tests share."""

    def __init__(self, lab: Lab, data: Path, *, settle: float = SETTLE) -> None:
        self.instance = lab.instance
        self.workspace = lab.workspace(data_dir=data, settle_seconds=settle)
        self.inbox, self.ledger = self.workspace.inbox, self.workspace.ledger

    def put(self, key: str) -> Path:
        return capture(self.inbox / key)

    def look(self, *, most_in_hand: int | None = None) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=self.instance)
        limit = {} if most_in_hand is None else {"most_in_hand": most_in_hand}
        result = tick(context, self.workspace, **limit)
        if isinstance(result, dg.SensorResult):
            self.instance.add_dynamic_partitions("captures", self.added(result))
        return result

    def settled(self, **limit: int) -> dg.SensorResult | dg.SkipReason:
        """Look twice, settle time apart."""
        self.look(**limit)
        time.sleep(SETTLE)
        return self.look(**limit)

    def keys(self) -> list[str]:
        """Look twice, and return the captures of single runs."""
        results = [self.look(), time.sleep(SETTLE), self.look()]
        return [
            request.partition_key
            for result in results
            if isinstance(result, dg.SensorResult)
            for request in result.run_requests
        ]

    @staticmethod
    def added(result: dg.SensorResult) -> list[str]:
        return [
            key for request in result.dynamic_partitions_requests for key in request.partition_keys
        ]

    def claim(self, key: str, run: str = "a run") -> None:
        self.ledger.claim(capture_at(self.inbox, key), run=run)

    def finish(self, key: str) -> None:
        self.claim(key)
        self.ledger.finish(key, sha256="0", documents="0", packets=2, rows=2, skipped={})


@pytest.fixture
def watch(lab: Lab, tmp_path: Path) -> Watch:
    return Watch(lab, tmp_path / "data")


def test_an_inbox_that_is_not_there_yet_is_made(watch: Watch):
    result = watch.look()

    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == f"0 files in {watch.inbox}, none of them new and quiet"
    assert watch.inbox.is_dir()


def ticked(watch: Watch) -> dg.SensorResult | dg.SkipReason:
    """Have the sensor tick as Dagster does."""
    result = new_captures(
        dg.build_sensor_context(instance=watch.instance, resources={"workspace": watch.workspace})
    )
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def test_a_new_storage_of_dagster_gets_the_partitions_of_captures_that_were_loaded_before(
    lab: Lab, tmp_path: Path
):
    watch = Watch(lab, tmp_path / "data", settle=0)
    for name in ("done", "failed", "refused", "waiting"):
        watch.put(f"restored/{name}.pcap")
    watch.finish("restored/done.pcap")
    watch.claim("restored/failed.pcap")
    watch.ledger.fail("restored/failed.pcap", "for a reason")
    watch.ledger.refuse(capture_at(watch.inbox, "restored/refused.pcap"), "it is none")
    with dg.DagsterInstance.ephemeral() as new:
        watch.instance = new
        context = dg.build_sensor_context(
            instance=new, resources={"workspace": watch.workspace}, cursor="an earlier start"
        )
        new_captures(context)
        assert set(new.get_dynamic_partitions("captures")) == {
            "restored/done.pcap",
            "restored/failed.pcap",
        }

        new.delete_dynamic_partition("captures", "restored/done.pcap")
        new_captures(context)
        assert list(new.get_dynamic_partitions("captures")) == ["restored/failed.pcap"]


def test_a_tick_goes_on_looking_until_a_new_capture_has_settled(watch: Watch):
    watch.put("kitchen/one tick.pcap")

    result = ticked(watch)

    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests] == ["kitchen/one tick.pcap"]


def test_a_tick_ends_when_it_has_refused_a_file(watch: Watch):
    watch.put("kitchen/page.html").write_text("<html>")

    result = ticked(watch)

    assert isinstance(result, dg.SkipReason)
    assert "refused: kitchen/page.html is not a capture" in (result.skip_message or "")


def test_a_tick_ends_at_once_when_its_process_ends(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sensors, "IDLE_SECONDS", 3600)
    ending = threading.Event()
    ending.set()
    monkeypatch.setattr(sensors, "ENDING", ending)

    assert isinstance(ticked(watch), dg.SkipReason)


def test_a_new_capture_is_requested_at_the_second_look_and_never_again(watch: Watch, lab: Lab):
    watch.put("kitchen/first look.pcap")
    patient = Watch(lab, watch.workspace.options.data_dir, settle=3600)

    assert isinstance(patient.look(), dg.SkipReason)
    assert isinstance(patient.look(), dg.SkipReason), "two looks at once say nothing of quiet"
    time.sleep(SETTLE)
    result = watch.look()

    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests] == ["kitchen/first look.pcap"]
    assert watch.added(result) == ["kitchen/first look.pcap"]
    assert isinstance(watch.settled(), dg.SkipReason)


def test_a_capture_that_still_grows_is_left_alone(watch: Watch):
    path = watch.put("kitchen/grows.pcap")
    for _ in range(3):
        assert isinstance(watch.look(), dg.SkipReason)
        time.sleep(SETTLE)
        with path.open("ab") as file:
            file.write(b"more")

    assert watch.keys() == ["kitchen/grows.pcap"]


def test_a_folder_that_was_moved_in_with_times_of_1970_is_requested(watch: Watch, tmp_path: Path):
    for name in "abc":
        os.utime(capture(tmp_path / "archive" / f"{name}.pcap"), (0, 0))
    watch.inbox.mkdir(parents=True)
    (tmp_path / "archive").rename(watch.inbox / "archive")

    assert watch.keys() == [f"archive/{name}.pcap" for name in "abc"]


def test_a_capture_that_was_replaced_is_requested_again(watch: Watch):
    watch.put("kitchen/replaced.pcap")
    watch.keys()
    watch.finish("kitchen/replaced.pcap")

    assert watch.keys() == []
    capture(watch.inbox / "kitchen" / "replaced.pcap", "another.example.com")
    first = watch.keys()
    watch.finish("kitchen/replaced.pcap")
    capture(
        watch.inbox / "kitchen" / "replaced.pcap", "another.example.com"
    )  # as long, but written later

    assert first == watch.keys() == ["kitchen/replaced.pcap"]


def test_two_requests_of_one_capture_have_keys_of_their_own(watch: Watch):
    """Dagster starts no second run of a run key, even if the first one failed."""
    watch.put("kitchen/keys.pcap")
    first = watch.settled()
    watch.ledger.fail("kitchen/keys.pcap", "reason")
    watch.put("kitchen/keys.pcap")
    second = watch.settled()

    assert isinstance(first, dg.SensorResult)
    assert isinstance(second, dg.SensorResult)
    assert first.run_requests[0].run_key != second.run_requests[0].run_key


def test_a_failed_capture_is_not_tried_again_until_it_changes(watch: Watch):
    watch.put("kitchen/failed.pcap")
    watch.keys()
    watch.claim("kitchen/failed.pcap")
    watch.ledger.fail("kitchen/failed.pcap", "it is broken")

    assert watch.keys() == []
    watch.put("kitchen/failed.pcap")
    assert watch.keys() == ["kitchen/failed.pcap"]


def test_a_purged_capture_stays_out_until_it_changes(watch: Watch):
    watch.put("kitchen/purged.pcap")
    watch.keys()
    watch.finish("kitchen/purged.pcap")
    watch.ledger.purge("kitchen/purged.pcap")

    assert watch.keys() == []
    watch.put("kitchen/purged.pcap")
    assert watch.keys() == ["kitchen/purged.pcap"]


def test_a_capture_that_a_terminal_took_is_left_to_it(watch: Watch):
    watch.put("kitchen/taken.pcap")
    watch.ledger.take(capture_at(watch.inbox, "kitchen/taken.pcap"))

    assert watch.keys() == []


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (
            "notes.txt",
            b"Dear diary",
            "refused/notes.txt is not a capture: it does not begin like a capture",
        ),
        ("empty.pcap", b"", "refused/empty.pcap is empty: record it again, or remove it."),
        ("dots...pcap", None, "refused/dots...pcap cannot be taken: its name contains '...'"),
        (
            "new\nline.pcap",
            None,
            "./refused/new\\u000aline.pcap cannot be taken: its name has control characters",
        ),
    ],
)
def test_what_is_no_capture_is_reported_and_never_becomes_a_partition(
    watch: Watch, name: str, content: bytes | None, text: str
):
    path = watch.put(f"refused/{name}")
    if content is not None:
        path.write_bytes(content)

    result = watch.settled()

    assert isinstance(result, dg.SkipReason)
    if (
        content is not None
    ):  # a name that cannot be taken is for `status` to say: this would be said at each tick
        assert text in result.skip_message
    [status] = watch.ledger.records()
    assert (status.state, status.error[: len(text)]) == (State.REFUSED, text)
    assert not [
        key
        for key in watch.instance.get_dynamic_partitions("captures")
        if key.startswith("refused/")
    ]
    assert "refused" not in watch.settled().skip_message.removeprefix(
        f"1 files in {watch.inbox}"
    ), "it is said once"


def test_a_refused_file_that_becomes_a_capture_is_requested(watch: Watch):
    watch.put("kitchen/late.pcap").write_bytes(b"")
    watch.settled()
    watch.put("kitchen/late.pcap")

    assert watch.keys() == ["kitchen/late.pcap"]


def test_refused_files_do_not_hold_up_the_good_ones(watch: Watch):
    watch.put("kitchen/bad.pcap").write_bytes(b"hello")
    watch.put("kitchen/good.pcap")

    assert watch.keys() == ["kitchen/good.pcap"]


@pytest.mark.parametrize(
    ("files", "single", "ranges"), [(20, 20, []), (21, 0, [21]), (120, 0, [50, 50, 20])]
)
def test_many_new_captures_share_runs_of_at_most_50(
    watch: Watch, files: int, single: int, ranges: list[int]
):
    keys = [f"archive {files}/{number:03}.pcap" for number in range(files)]
    for key in keys:
        watch.put(key)

    result = watch.settled()

    assert isinstance(result, dg.SensorResult)
    ends = [
        (
            request.tags["dagster/asset_partition_range_start"],
            request.tags["dagster/asset_partition_range_end"],
        )
        for request in result.run_requests
        if request.partition_key is None
    ]
    order = list(watch.instance.get_dynamic_partitions("captures"))
    of_ranges = [order[order.index(first) : order.index(last) + 1] for first, last in ends]
    of_their_own = [
        request.partition_key for request in result.run_requests if request.partition_key
    ]
    assert (len(of_their_own), [len(range_) for range_ in of_ranges]) == (single, ranges)
    assert sorted([*of_their_own, *(key for range_ in of_ranges for key in range_)]) == keys
    assert len({request.run_key for request in result.run_requests}) == len(result.run_requests)
    assert isinstance(watch.settled(), dg.SkipReason)


def test_changed_captures_among_many_new_ones_get_runs_of_their_own(watch: Watch):
    """A range of partitions would reach from an old one over all that came between."""
    watch.put("mixed/old.pcap")
    watch.keys()
    watch.finish("mixed/old.pcap")
    for number in range(30):
        watch.put(f"mixed/{number:02}.pcap")
    capture(watch.inbox / "mixed" / "old.pcap", "changed.example.com")

    result = watch.settled()

    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests] == ["mixed/old.pcap", None]
    assert result.run_requests[1].tags["dagster/asset_partition_range_end"] == "mixed/29.pcap"


def test_a_capture_whose_run_was_killed_is_requested_once_more_and_then_has_failed(watch: Watch):
    watch.put("kitchen/killed.pcap")
    watch.keys()
    watch.claim("kitchen/killed.pcap", "first run")

    assert watch.keys() == ["kitchen/killed.pcap"]
    watch.claim("kitchen/killed.pcap", "second run")
    assert watch.keys() == []

    record = watch.ledger.get("kitchen/killed.pcap")
    assert record is not None
    assert record.state is State.FAILED
    assert record.error.startswith("kitchen/killed.pcap: 2 runs ended without a result")
    assert "second run" in record.error


def test_a_capture_that_is_at_work_is_left_alone(watch: Watch):
    watch.put("kitchen/at work.pcap")
    watch.keys()
    with watch.ledger.lock("kitchen/at work.pcap"):
        watch.claim("kitchen/at work.pcap")
        assert watch.keys() == []
        assert watch.ledger.get("kitchen/at work.pcap").state is State.RUNNING


@pytest.fixture
def idle(lab: Lab) -> Iterator[None]:
    """Make sure that no run of another test is left that Dagster takes for going on."""
    statuses = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED]
    going = lab.instance.get_runs(dg.RunsFilter(job_name="ingest_captures", statuses=statuses))
    assert going == []
    return


def ago(watch: Watch, seconds: float) -> None:
    """Let all requests have been made earlier."""
    with closing(sqlite3.connect(watch.workspace.options.data_dir / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE captures SET requested_at = requested_at - ?", (seconds,))
        ledger.commit()


@pytest.mark.usefixtures("idle")
def test_a_run_that_was_asked_for_and_never_came_is_requested_again(watch: Watch):
    watch.put("kitchen/never came.pcap")
    watch.keys()
    ago(watch, START_SECONDS - 10)
    assert watch.keys() == []
    ago(watch, START_SECONDS)

    assert watch.keys() == ["kitchen/never came.pcap"]
    ago(watch, START_SECONDS + 1)
    assert watch.keys() == ["kitchen/never came.pcap"]


def test_what_a_run_in_the_queue_is_about_is_not_requested_a_second_time(
    watch: Watch, started: Callable[..., str]
):
    """A queue that takes an hour would else double itself."""
    for name in "abcd":
        watch.put(f"kitchen/queued {name}.pcap")
    watch.keys()
    started(
        **{
            "dagster/asset_partition_range_start": "kitchen/queued a.pcap",
            "dagster/asset_partition_range_end": "kitchen/queued c.pcap",
        }
    )
    started(**{"dagster/partition": "kitchen/another.pcap"})
    ago(watch, 3600)

    assert watch.keys() == ["kitchen/queued d.pcap"], "no run is about it, so it waits for nothing"


def test_the_run_of_a_killed_terminal_is_shown_as_failed(watch: Watch, started: Callable[..., str]):
    watch.put("kitchen/terminal.pcap")
    watch.keys()
    run_id = started(**{"dagster/partition": "kitchen/terminal.pcap", TERMINAL: "yes"})
    with watch.ledger.lock(run_id), watch.ledger.lock("kitchen/terminal.pcap"):
        watch.claim("kitchen/terminal.pcap", run_id)
        assert watch.keys() == []
        assert watch.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.STARTED

    assert watch.keys() == ["kitchen/terminal.pcap"]
    assert watch.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_run_whose_process_is_gone_is_shown_as_failed(watch: Watch, started: Callable[..., str]):
    """Dagster counted it as running for ever. After a power cut, four of them stopped all work."""
    watch.put("kitchen/gone.pcap")
    watch.keys()
    run_id = started(**{"dagster/partition": "kitchen/gone.pcap"})
    with watch.ledger.lock("kitchen/gone.pcap"):
        watch.claim("kitchen/gone.pcap", run_id)
        assert watch.keys() == []
        assert watch.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.STARTED

    assert watch.keys() == ["kitchen/gone.pcap"]
    assert watch.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE


@pytest.fixture
def forgotten(lab: Lab) -> Iterator[Callable[..., str]]:
    """Give a function that makes a run as Dagster does, but does not put it into the queue."""
    job = build_defs(workspace=lab.workspace()).resolve_job_def("ingest_captures")
    location = RemoteJobOrigin(
        RemoteRepositoryOrigin(
            GrpcServerCodeLocationOrigin("127.0.0.1", 1, location_name="mt_pipeline"),
            "__repository__",
        ),
        job.name,
    )
    made: list[str] = []

    def make(*, seconds_ago: float) -> str:
        run = lab.instance.add_run(dg.DagsterRun(job_name=job.name, remote_job_origin=location))
        with closing(
            sqlite3.connect(Path(lab.instance.root_directory) / "history" / "runs.db")
        ) as runs:
            made_at = (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime(
                "%Y-%m-%d %H:%M:%S"
            )
            runs.execute(
                "UPDATE runs SET create_timestamp = ? WHERE run_id = ?", (made_at, run.run_id)
            )
            runs.commit()
        made.append(run.run_id)
        return run.run_id

    yield make
    for run_id in made:
        lab.instance.delete_run(run_id)


def test_a_run_that_was_made_and_never_queued_is_queued(
    watch: Watch, forgotten: Callable[..., str]
):
    """Killed in between, Dagster never starts it, and the backfill that made it never ends."""
    run_id = forgotten(seconds_ago=ENQUEUE_SECONDS + 10)
    being_made = forgotten(seconds_ago=0)

    watch.look()

    assert watch.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.QUEUED
    assert watch.instance.get_run_by_id(being_made).status is dg.DagsterRunStatus.NOT_STARTED


def requests_of(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests)


def test_large_captures_do_not_share_a_run(watch: Watch):
    for number in range(30):
        watch.put(f"sizes/{number:02}.pcap")
    with (watch.inbox / "sizes" / "12.pcap").open("r+b") as file:
        file.truncate(300_000_000)  # takes no disk

    requests = requests_of(watch.settled())

    ends = [
        (request.tags.get("dagster/asset_partition_range_start") or request.partition_key)
        for request in requests
    ]
    assert ends == ["sizes/00.pcap", "sizes/12.pcap", "sizes/13.pcap"]


def test_an_archive_is_asked_for_in_portions_and_what_is_dropped_meanwhile_comes_before_its_rest(
    watch: Watch,
):
    for number in range(100):
        watch.put(f"portions/{number:03}.pcap")

    first = watch.settled(most_in_hand=60)
    watch.put("dropped/a.pcap")
    second = watch.settled(most_in_hand=60)

    assert [request.tags[PRIORITY] for request in requests_of(first)] == [ARCHIVE, ARCHIVE]
    assert watch.added(first) == [f"portions/{number:03}.pcap" for number in range(60)]
    assert [(request.partition_key, request.tags[PRIORITY]) for request in requests_of(second)] == [
        ("dropped/a.pcap", DROPPED)
    ]
    waiting = watch.look(most_in_hand=60)
    assert isinstance(waiting, dg.SkipReason)
    assert waiting.skip_message == "0 of 101 captures in"
    for number in range(60):
        watch.finish(f"portions/{number:03}.pcap")
    third = watch.look(most_in_hand=60)
    assert watch.added(third) == [f"portions/{number:03}.pcap" for number in range(60, 100)]


def test_neighbours_among_known_captures_share_runs_too(watch: Watch):
    """An archive that is copied once more was once a run for each capture."""
    keys = [f"again/{number:02}.pcap" for number in range(30)]
    for round_ in ("first.example.com", "second.example.com"):
        for key in keys:
            capture(watch.inbox / key, round_)
        requests = requests_of(watch.settled())
        assert len(requests) == 1
        runs = [dg.DagsterRun("ingest_captures", tags=dict(request.tags)) for request in requests]
        assert covered(runs, watch.instance.get_dynamic_partitions("captures")) == set(keys)
        for key in keys:
            watch.finish(key)
    for key in (keys[3], *keys[7:29]):
        capture(watch.inbox / key, "third.example.com")
    assert [request.partition_key for request in requests_of(watch.settled())] == [keys[3], None]


@pytest.mark.usefixtures("idle")
def test_what_was_at_work_in_a_run_that_died_gets_a_run_of_its_own(watch: Watch):
    """A capture that kills its run once failed all others of the run, even those not yet begun."""
    keys = [f"deadly/{number:02}.pcap" for number in range(30)]
    for key in keys:
        watch.put(key)
    assert len(requests_of(watch.settled())) == 1
    watch.finish(keys[0])
    watch.claim(keys[1])
    ago(watch, START_SECONDS + 1)

    assert sorted(watch.keys(), key=str) == [None, keys[1]]


def test_a_tick_says_how_far_it_is(watch: Watch):
    for name in "abc":
        watch.put(f"progress/{name}.pcap")
    watch.keys()
    watch.finish("progress/a.pcap")
    watch.claim("progress/b.pcap")
    watch.ledger.fail("progress/b.pcap", "it is broken")

    result = watch.look()

    assert isinstance(result, dg.SkipReason)
    assert re.fullmatch(
        r"1 of 3 captures in, 1 failed, \d+\.\d a second, 1 s left", result.skip_message
    )


def test_a_damaged_ledger_makes_a_tick_that_says_so(lab: Lab, tmp_path: Path):
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no SQLite file" * 500)
    context = dg.build_sensor_context(
        instance=lab.instance, resources={"workspace": lab.workspace(data_dir=tmp_path)}
    )

    with pytest.raises(LedgerError, match="it is damaged: stop the service and move it away"):
        new_captures(context)
