"""A refresh asks for expired and missing answers, and loads captures with changed answers."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.captures.records import State
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.refresh import pending_answers
from mt_pipeline.pipeline.as_of import MomentError, moment
from mt_pipeline.pipeline.provenance import made
from mt_pipeline.pipeline.session import session
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.schema.tables import FLOWS
from mt_pipeline.settings import Settings
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import tls_session
from mt_pipeline_tests.fake_netify import FakeNetify, address_body, name_body
from mt_pipeline_tests.pipelines import Lab, Ran, Result, ended, environment, program
from mt_pipeline_tests.services import eventually

SERVERS = {"a": "93.184.216.34", "b": "142.250.184.206"}
COLUMNS = ("capture", "tls_sni_netify_app_tag", "ip_dst", "ip_dst_netify_geo_country")


class Archive:
    """Two captures, each with a server and a name of its own, in a data folder of their own."""

    def __init__(self, lab: Lab, netify: FakeNetify, experiment: str) -> None:
        self.lab, self.netify, self.experiment = lab, netify, experiment
        self.data = lab.data / f"refresh-{experiment}"
        self.keys = [f"{experiment}/{letter}.pcap" for letter in SERVERS]
        for letter, server in SERVERS.items():
            path = lab.inbox / experiment / f"{letter}.pcap"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_pcap(path, timed(tls_session(f"www.{letter}.com", server=server)))

    def settings(self, **changes: object) -> Settings:
        asks = {
            "enrichment": "netify",
            "netify_api_key": "s3cret",
            "netify_url": self.netify.url,
            "netify_rate": 1000,
        }
        return self.lab.settings(data_dir=self.data, inbox=self.lab.inbox, **{**asks, **changes})

    def workspace(self, **changes: object) -> Workspace:
        return Workspace(self.settings(**changes).options())

    def load(self, *keys: str, **changes: object) -> Ran:
        ran = [self.lab.run(key, workspace=self.workspace(**changes)) for key in keys or self.keys]
        assert all(one.success for one in ran), [one.failure for one in ran if not one.success]
        return ran[-1]

    def refresh(self, config: dict[str, object] | None = None, **changes: object) -> Ran:
        """Refresh; whoever would start tshark finds none."""
        job = build_defs(
            workspace=self.workspace(tshark="/nowhere/tshark", **changes)
        ).resolve_job_def("refresh_answers")
        result = job.execute_in_process(
            instance=self.lab.instance,
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {"refresh": {"config": config or {}}},
            },
        )
        return Ran(result, self.lab.instance)

    def applications(self) -> dict[str, str]:
        """Return what the name of each capture is said to be, as rows have it."""
        return dict(row[:2] for row in self.lab.rows(self.experiment, COLUMNS))


@pytest.fixture
def archive(
    lab: Lab, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Archive]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeNetify() as netify:
        yield Archive(lab, netify, f"ageing_{abs(hash(request.node.name)) % 10**8}")


def named(name: str, tag: str) -> dict[str, object]:
    return name_body(
        name, application={"id": 1, "tag": tag, "category": {"id": 5, "tag": "business"}}
    )


def said_of(ran: Ran, archive: Archive) -> dict[str, object]:
    """Return what the run observed of the experiment."""
    events = ran.instance.all_logs(ran.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    observed = [
        event.get_dagster_event().asset_observation_data.asset_observation for event in events
    ]
    [one] = [one for one in observed if one.metadata["experiment"].value == archive.experiment]
    return {name: value.value for name, value in one.metadata.items()}


def test_only_the_capture_whose_answers_changed_is_loaded_again_and_tshark_is_not_started(
    archive: Archive,
):
    archive.load()
    assert set(archive.applications().values()) == {"example-app"}
    before = len(archive.netify.requests())
    archive.netify.say("www.b.com", body=named("www.b.com", "newcomer"))

    ran = archive.refresh(answer_days=0)

    assert ran.success, ran.failure
    assert len(archive.netify.requests()) == 2 * before
    assert ran.materialised() == [archive.keys[1]]
    assert archive.applications() == {archive.keys[0]: "example-app", archive.keys[1]: "newcomer"}
    described = ran.metadata("netify_enrichment", archive.keys[1])
    assert described["changed"] == 1
    assert "| www.b.com | application | example-app | newcomer |" in str(
        described["changes"]
    ).replace("\\", "")
    assert all(check.passed for check in ran.checks("rows_stored"))


def test_what_made_an_export_says_when_providers_answered(archive: Archive):
    before = datetime.now(UTC).replace(microsecond=0)
    archive.load(archive.keys[0])
    after = datetime.now(UTC)
    archive.load(archive.keys[1], enrichment="offline")
    workspace = archive.workspace()
    with session(workspace) as opened:
        described = made(workspace, opened.question(FLOWS, archive.experiment))

    asked, not_asked = (capture["asked"] for capture in described["captures"])
    first, last = map(datetime.fromisoformat, asked)
    assert before <= first <= last <= after
    assert not_asked is None
    assert [datetime.fromisoformat(day) for day in described["tables"].values()] != []


def test_what_has_not_expired_is_not_asked_and_nothing_is_loaded(archive: Archive):
    archive.load()
    before = len(archive.netify.requests())
    ran = archive.refresh()
    assert ran.success
    assert len(archive.netify.requests()) == before
    assert ran.materialised() == []


def test_a_day_of_the_past_has_the_answers_of_that_day_until_the_experiment_is_refreshed_by_name(
    archive: Archive,
):
    archive.load()
    between = datetime.now(UTC)
    archive.netify.say("www.a.com", body=named("www.a.com", "newcomer"))
    archive.refresh(answer_days=0)
    assert archive.applications()[archive.keys[0]] == "newcomer"
    asked = len(archive.netify.requests())

    archive.refresh({"experiment": archive.experiment, "as_of": between.isoformat()})
    assert archive.applications()[archive.keys[0]] == "example-app"
    assert len(archive.netify.requests()) == asked
    assert archive.refresh().materialised() == []
    assert archive.applications()[archive.keys[0]] == "example-app"

    archive.refresh({"experiment": archive.experiment})
    assert archive.applications()[archive.keys[0]] == "newcomer"


def test_a_capture_can_be_loaded_as_of_a_day_before_anything_was_known(archive: Archive):
    archive.load()
    config = {"as_of": (datetime.now(UTC) - timedelta(days=2)).date().isoformat()}
    job = build_defs(workspace=archive.workspace()).resolve_job_def("ingest_captures")
    result = job.execute_in_process(
        instance=archive.lab.instance,
        partition_key=archive.keys[0],
        run_config={"ops": {"ingest": {"config": config}}},
        raise_on_error=False,
    )
    assert result.success
    assert archive.applications() == {archive.keys[0]: "Unknown", archive.keys[1]: "example-app"}


def test_what_a_budget_leaves_out_is_pending_and_asked_when_there_is_one_again(archive: Archive):
    ran = archive.load(netify_budget_day=3)
    asked = len(archive.netify.requests())
    assert asked == 3
    described = ran.metadata("netify_enrichment", archive.keys[1])
    assert (described["calls_today"], described["budget_today"]) == (3, 3)
    assert described["pending"] == 1
    seen = said_of(ran, archive)
    assert (seen["captures"], seen["owed"], seen["calls_today"]) == (2, 1, 3)
    [check] = ran.checks("answers_complete")
    assert not check.passed
    assert "MT_NETIFY_BUDGET_DAY" in (check.description or "")

    def look(cursor: str | None = None, **changes: object) -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=archive.lab.instance,
            cursor=cursor,
            resources={"workspace": archive.workspace(**{"netify_budget_day": 3, **changes})},
        )
        return pending_answers(context)

    waits = look()
    assert isinstance(waits, dg.SkipReason)
    assert "1 answers for 1 captures are owed; the budget of today is spent (3 calls)" in (
        waits.skip_message or ""
    )
    now = str(datetime.now(UTC).timestamp())
    assert isinstance(look(now, netify_budget_day=10), dg.SkipReason)  # within the hour
    request = look(netify_budget_day=10)
    assert isinstance(request, dg.RunRequest)

    refreshed = archive.refresh(
        request.run_config["ops"]["refresh"]["config"], netify_budget_day=10
    )
    assert refreshed.materialised() == [archive.keys[1]]
    assert len(archive.netify.requests()) == 4
    skipped = look(netify_budget_day=10)
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "no answer is owed"


def test_a_reload_that_broke_off_is_made_good_by_the_next_refresh(archive: Archive):
    archive.load()
    ledger = archive.workspace().ledger
    ledger.answered(archive.keys[0], answers=None, owed=0)  # as a kill within the load leaves it
    assert [record.key for record in ledger.due_for_refresh()] == [archive.keys[0]]
    assert archive.refresh({"owing": True}).materialised() == [archive.keys[0]]
    assert ledger.due_for_refresh() == []


def test_a_capture_that_fails_stops_no_other(archive: Archive):
    archive.load()
    files = [
        *(archive.data / "endpoints").rglob("a.pcap*/*.parquet"),
        *(archive.data / "tshark_json").rglob("a.pcap*/*"),
    ]
    assert files
    for file in files:
        file.unlink()
    archive.netify.say("www.b.com", body=named("www.b.com", "newcomer"))
    ran = archive.refresh(answer_days=0)
    assert not ran.success
    assert archive.keys[0] in ran.failure
    assert "1 of 2 captures failed, the others are done" in ran.failure
    assert archive.applications()[archive.keys[1]] == "newcomer"
    record = archive.workspace().ledger.get(archive.keys[0])
    assert record is not None
    assert record.state is State.DONE  # its rows are there


def test_a_capture_whose_file_is_gone_is_refreshed_all_the_same(archive: Archive):
    archive.load()
    for key in archive.keys:
        (archive.lab.inbox / key).unlink()
    archive.netify.say(
        "93.184.216.34",
        body=address_body(
            "93.184.216.34", geolocation={"country": {"code": "FR", "label": "France"}}
        ),
    )
    ran = archive.refresh(answer_days=0)
    assert ran.success
    countries = {
        row[3]
        for row in archive.lab.rows(archive.experiment, COLUMNS)
        if str(row[2]) == SERVERS["a"]
    }
    assert countries == {"France"}
    assert "| country | Germany | France |" in str(
        ran.metadata("netify_enrichment", archive.keys[0])["changes"]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_date_stands_for_its_last_moment(text: str, expected: datetime):
    assert moment(text) == expected


def test_what_is_no_date_is_refused():
    with pytest.raises(MomentError, match=r"'yesterday' is no date: write it as 2026-01-31"):
        moment("yesterday")


def test_the_terminal_refreshes_and_says_what_it_would_cost(
    archive: Archive, terminal: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    archive.load()
    monkeypatch.setenv("MT_DATA_DIR", str(archive.data))
    monkeypatch.setenv("MT_ENRICHMENT", "netify")
    monkeypatch.setenv("MT_NETIFY_API_KEY", "s3cret")
    monkeypatch.setenv("MT_NETIFY_URL", archive.netify.url)
    monkeypatch.setenv("MT_NETIFY_BUDGET_DAY", "100")
    free = terminal("refresh", archive.experiment, "--dry-run")
    budget = ["calls today: 4", "budget today: 100"]
    assert free.out.splitlines() == [
        "2 captures with 4 endpoints",
        "netify: 0 calls; 4 answers are in the store",
        *budget,
    ]
    assert (
        terminal("refresh", archive.experiment.replace("_", " ").title(), "--dry-run").out
        == free.out
    ), "a folder's name will do"
    monkeypatch.setenv("MT_ANSWER_DAYS", "0")
    assert "netify: 2 calls" in terminal("refresh", "--capture", archive.keys[0], "--dry-run").out
    archive.netify.say("www.b.com", body=named("www.b.com", "newcomer"))
    output = terminal("refresh", archive.experiment)
    assert (output.code, output.out) == (0, "2 captures: 1 loaded again, 1 unchanged\n")
    assert (
        terminal("refresh", "nobody").err
        == "mt-pipeline: no experiment nobody; `mt-pipeline status` lists what there is\n"
    )
    assert terminal("refresh", archive.experiment, "--as-of", "noon").code == 2
    assert terminal("refresh").code == 2
    assert "s3cret" not in json.dumps([output.out, output.err, free.out])


@pytest.fixture
def terminal_of(
    archive: Archive, terminal: Callable, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Give the command line the settings of the archive; all answers have expired."""
    archive.load()
    monkeypatch.setenv("MT_DATA_DIR", str(archive.data))
    monkeypatch.setenv("MT_ENRICHMENT", "netify")
    monkeypatch.setenv("MT_NETIFY_API_KEY", "s3cret")
    monkeypatch.setenv("MT_NETIFY_URL", archive.netify.url)
    monkeypatch.setenv("MT_ANSWER_DAYS", "0")
    return terminal


def test_a_refresh_says_why_answers_are_still_owed(
    archive: Archive, terminal_of: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    """It said that the captures are unchanged, as if all were well."""
    monkeypatch.setenv("MT_NETIFY_BUDGET_DAY", "4")

    result = terminal_of("refresh", archive.experiment)

    assert result.code == 0
    unchanged, owed = result.out.splitlines()
    assert unchanged == "2 captures: 0 loaded again, 2 unchanged"
    assert owed.startswith("4 answers are owed: MT_NETIFY_BUDGET_DAY allows 4 calls a day, ")


def test_a_refresh_that_cannot_begin_says_why(archive: Archive, terminal_of: Callable[..., Result]):
    """It ended with status 1 and without a word."""
    store = archive.data / "cache" / "answers"
    shutil.rmtree(store)
    store.touch()

    result = terminal_of("refresh", archive.experiment)

    assert result.code == 1
    assert result.out.startswith(f"failed: {store}")
    assert "the store of answers cannot be used" in result.out
    assert result.out.count("\n") == 1


def test_ctrl_c_cancels_a_refresh_and_says_so(archive: Archive):
    """It ended with status 1 and without a word, as if it had failed."""
    archive.load()
    archive.netify.say(delay=60)
    asks = {
        "MT_NETIFY_API_KEY": "s3cret",
        "MT_NETIFY_URL": archive.netify.url,
        "MT_ANSWER_DAYS": "0",
    }
    asked = len(archive.netify.asked())
    process = program(
        "refresh",
        archive.experiment,
        settings=archive.settings(),
        env=environment(archive.settings(), **asks),
    )
    assert eventually(lambda: len(archive.netify.asked()) > asked)

    process.send_signal(signal.SIGINT)

    assert ended(process, timeout=50) == Result(130, "", "mt-pipeline: cancelled\n")
