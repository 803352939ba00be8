"""`mt-pipeline run` as its user sees it: from a file to rows, pages in a browser, its end."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By

from mt_pipeline.backends.questdb import server_folder
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.records import State
from mt_pipeline.service import explorer_process
from mt_pipeline.system.private import OTHERS
from mt_pipeline_tests.browsers import GRAPH, chromium, click, page
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.building.traffic import tls_session
from mt_pipeline_tests.pipelines import (
    PASSWORD,
    STAGES,
    Result,
    capture,
    ended,
    environment,
    files_below,
    program,
    rows,
    settings_of,
)
from mt_pipeline_tests.services import (
    SECONDS,
    Running,
    at_work,
    eventually,
    free_ports,
    open_to_others,
    processes_of,
    running,
    sleepers,
)

KEY = "kitchen/it's a test #1.pcap"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "shared").mkdir()
    os.utime(folder / "shared", (0, 0))
    with running(folder, TMPDIR=str(folder / "shared")) as started:
        yield started


@pytest.fixture(scope="module")
def dropped(service: Running) -> Running:
    """Drop a capture, and one that is damaged, and wait for both."""
    folder = service.data / "inbox" / "kitchen"
    folder.mkdir()
    write_pcap(service.data / "inbox" / KEY, timed(tls_session()))
    (folder / "damaged.pcapng").write_bytes(GARBAGE)
    ends = State.DONE, State.FAILED
    assert eventually(
        lambda: all(
            (record := service.record(key)) and record.state in ends
            for key in (KEY, "kitchen/damaged.pcapng")
        )
    )
    return service


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), "window-size=1600,1200") as opened:
        yield opened


def test_it_says_where_everything_is(service: Running):
    assert service.output.read_text() == (
        "starting QuestDB\nstarting Dagster\n\n"
        f"  Explorer         {service.explorer}\n"
        f"  Dagster UI       {service.ui}\n"
        f"  watched folder   {service.data}/inbox/<experiment>/\n"
        f"  QuestDB console  http://127.0.0.1:{service.settings.questdb_http_port}\n"
        f"                   user admin, password in {service.data}/questdb-password\n\n"
        "Copy a capture into the watched folder. Ctrl-C stops everything.\n\n"
    )


def test_it_listens_on_this_machine_only(service: Running):
    assert eventually(lambda: explorer_process.answers(service.settings))
    listening = [
        (connection.laddr.ip, connection.laddr.port)
        for process in processes_of(service.data)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    expected = {
        service.settings.dagster_port,
        service.settings.explorer_port,
        service.settings.questdb_http_port,
        service.settings.questdb_pg_port,
    }
    assert {port for _, port in listening} == expected
    assert {address.removeprefix("::ffff:") for address, _ in listening} == {"127.0.0.1"}


SENSORS = ("new_captures", "pending_answers", "quiet_experiments")


def test_the_code_location_is_loaded_and_the_sensor_is_on(service: Running):
    found = service.query(
        "{workspaceOrError{...on Workspace{locationEntries{name loadStatus "
        "locationOrLoadError{__typename"
        " ...on RepositoryLocation{repositories{sensors{name sensorState{status}}}}}}}}}"
    )

    assert found["workspaceOrError"]["locationEntries"] == [
        {
            "name": "mt_pipeline",
            "loadStatus": "LOADED",
            "locationOrLoadError": {
                "__typename": "RepositoryLocation",
                "repositories": [
                    {
                        "sensors": [
                            {"name": name, "sensorState": {"status": "RUNNING"}} for name in SENSORS
                        ]
                    }
                ],
            },
        }
    ]


def boxes(browser: webdriver.Chrome) -> dict[str, list[tuple[str, bool]]]:
    """Return the boxes of the graph: the text on each asset's partitions, and whether it is green.

    Icons do not count: one is always green, as is the box of an asset without captures.
    """
    script = r"""const boxes = [];
        for (const link of document.querySelectorAll('foreignObject a[href$="view=partitions"]')) {
            let box = link, colour;
            while ((colour = getComputedStyle(box).backgroundColor) === 'rgba(0, 0, 0, 0)')
                box = box.parentElement;
            const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
            const asset = new URL(link.href).pathname.split('/').pop();
            boxes.push([asset, link.textContent, green > red && green > blue]);
        }
        return boxes"""
    found: dict[str, list[tuple[str, bool]]] = {}
    for asset, text, green in browser.execute_script(script):
        found.setdefault(asset, []).append((text, green))
    return found


def test_a_dropped_capture_turns_the_graph_green_before_ones_eyes(
    service: Running, browser: webdriver.Chrome
):
    """The first capture of this service: one that failed would keep the boxes red."""
    page(browser, service.ui + GRAPH, *STAGES)
    assert eventually(
        lambda: boxes(browser) == {asset: [("0 partitions", True)] for asset in STAGES}
    ), boxes(browser)

    capture(service.data / "inbox" / "graph" / "a.pcap")

    green = [("100% filled", False), ("1 partition", True)]
    assert eventually(lambda: boxes(browser) == dict.fromkeys(STAGES, green)), boxes(browser)


def test_a_dropped_capture_becomes_rows(dropped: Running):
    assert dropped.rows("kitchen") == [(number,) for number in range(1, len(tls_session()) + 1)]


def test_what_it_makes_is_for_its_owner_alone_and_nothing_lies_where_others_have_temporary_files(
    dropped: Running,
):
    shared = dropped.data.parent / "shared"
    inbox = dropped.data / "inbox"

    assert [path for path in open_to_others(dropped.data) if not path.startswith(str(inbox))] == []
    assert inbox.stat().st_mode & OTHERS == 0
    assert shared.stat().st_mtime == 0, "it was used, also if nothing stays"


def test_a_relative_path_is_the_same_file_for_dagster_which_works_in_another_folder(
    dropped: Running,
):
    assert {row[0] for row in dropped.rows("kitchen", ("device_src",))} == {"Phone", None}


def test_there_is_a_user_who_may_only_read(dropped: Running):
    assert rows(dropped.reading, "kitchen") == dropped.rows("kitchen")


def test_the_page_of_a_capture_shows_what_became_of_it(dropped: Running, browser: webdriver.Chrome):
    expected = "rows_per_second", "packets_kitchen", "open these rows in the QuestDB console"
    shown = page(
        browser,
        f"{dropped.ui}/assets/questdb_packets?view=partitions&partition={quote(KEY, safe='')}",
        KEY,
        *expected,
    )

    lines = shown.splitlines()
    assert any(line.split() == ["rows", str(len(tls_session()))] for line in lines) or lines[
        lines.index("rows") + 1
    ] == str(len(tls_session()))


def test_the_page_of_a_capture_draws_its_traffic_and_what_is_most_in_it(
    dropped: Running, browser: webdriver.Chrome
):
    page(
        browser,
        f"{dropped.ui}/assets/questdb_packets?view=partitions&partition={quote(KEY, safe='')}",
        "traffic_over_time",
        "top_protocols",
    )
    # A broken picture has no width.
    widths = """return [...document.querySelectorAll('tr')]
        .filter(row => row.cells[0]?.textContent === 'traffic_over_time')
        .flatMap(row => [...row.querySelectorAll('img')].map(image => image.naturalWidth))"""

    assert eventually(lambda: any(browser.execute_script(widths)), seconds=30)
    for name, most in {"top_server_names": "www.example.com", "top_protocols": "tls"}.items():
        lines = [
            row.text.split()
            for row in browser.find_elements(By.XPATH, f"//tr[td[1]='{name}']//table//tr")
        ]
        assert [line[0] for line in lines[1:]] == [most]


def test_the_page_of_server_names_draws_its_table(dropped: Running, browser: webdriver.Chrome):
    page(
        browser,
        f"{dropped.ui}/assets/endpoints?view=partitions&partition={quote(KEY, safe='')}",
        "www.example.com",
        "server name",
    )

    assert "www.example.com" in [
        cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "table table td, td")
    ]


def test_the_page_of_a_failed_run_says_which_capture_and_why(
    dropped: Running, browser: webdriver.Chrome
):
    record = dropped.record("kitchen/damaged.pcapng")
    assert record is not None
    assert record.error is not None

    shown = page(browser, f"{dropped.ui}/runs/{record.run}", "RUN_FAILURE", "damaged.pcapng")

    assert record.error in " ".join(shown.split())


def test_why_a_capture_failed_is_in_sight_on_the_page_of_its_run(
    dropped: Running, browser: webdriver.Chrome
):
    """Without a click and without scrolling, on the screen of a small laptop."""
    record = dropped.record("kitchen/damaged.pcapng")
    assert record is not None
    # Whether all lines of the sentence are on top, from end to end: not scrolled away or covered.
    script = """const lines = document.createRange();
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let text; text = texts.nextNode();) {
            const start = text.data.indexOf(arguments[0]);
            if (start < 0) continue;
            lines.setStart(text, start);
            lines.setEnd(text, start + arguments[0].length);
            const touched = (x, y) => text.parentElement.contains(document.elementFromPoint(x, y));
            if ([...lines.getClientRects()].every(line =>
                touched(line.left + 1, line.top + 7) && touched(line.right - 1, line.top + 7)
            )) return true;
        }"""
    whole = browser.get_window_size()
    browser.set_window_size(1366, 768)
    try:
        page(browser, f"{dropped.ui}/runs/{record.run}", "RUN_FAILURE", "damaged.pcapng")

        assert eventually(lambda: browser.execute_script(script, record.error), seconds=30), (
            record.error
        )
    finally:
        browser.set_window_size(whole["width"], whole["height"])


def test_the_terminal_says_one_sentence_of_what_failed_and_nothing_of_outputs_of_what_succeeded(
    dropped: Running,
):
    """Dagster printed the trace of a damaged file twice.

    Of each run that succeeded it printed that it lacked outputs.
    """
    record = dropped.record("kitchen/damaged.pcapng")
    assert record is not None
    asked = f'{{runOrError(runId: "{record.run}") {{... on Run {{status}}}}}}'
    assert eventually(lambda: dropped.query(asked)["runOrError"]["status"] == "FAILURE")
    assert eventually(lambda: f"{KEY}: " in dropped.output.read_text())

    output = dropped.output.read_text()
    assert output.count(str(record.error)) == 1
    assert "Stack Trace" not in output
    assert "did not yield" not in output


def test_what_failed_is_launched_again_by_three_clicks_and_nothing_else_is(
    dropped: Running, browser: webdriver.Chrome
):
    keys = "kitchen/damaged.pcapng", KEY
    before = [dropped.record(key) for key in keys]

    page(
        browser,
        f"{dropped.ui}/locations/mt_pipeline/jobs/ingest_captures/partitions",
        "Total partitions",
    )
    for text in (
        "Materialize…",
        "Failed",
        "Launch",
    ):  # "Launch 1 run", or "Launch backfill" of several
        click(browser, text)

    assert eventually(
        lambda: (
            dropped.record(keys[0]).run != before[0].run
            and dropped.record(keys[0]).state is State.FAILED
        )
    )
    assert dropped.record(keys[1]) == before[1]


def test_the_ui_shows_the_report_of_an_experiment_to_nobody_elses_page(service: Running):
    """Its asset named a file of the disk, which no browser opens from a page of a server."""
    folder = service.data / "reports"
    folder.mkdir(exist_ok=True)
    (folder / "shown.html").write_text("<title>Report: shown</title>")

    shown = requests.get(f"{service.ui}/reports/shown.html", timeout=SECONDS)
    refused = requests.get(
        f"{service.ui}/reports/shown.html",
        headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        timeout=SECONDS,
    )

    assert (shown.status_code, shown.text) == (200, "<title>Report: shown</title>")
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert (refused.status_code, "Report" in refused.text) == (403, False)


def test_the_port_of_the_ui_being_taken_is_one_line(service: Running, tmp_path: Path):
    settings = settings_of(tmp_path / "data", service.database)

    result = ended(
        program(
            "run",
            settings=settings,
            env=environment(settings, MT_DAGSTER_PORT=str(service.settings.dagster_port)),
        )
    )

    assert result == Result(
        1,
        "",
        f"mt-pipeline: port {service.settings.dagster_port} for the Dagster UI cannot be used "
        "(Address already in use): "
        "stop what listens there, or set MT_DAGSTER_PORT\n",
    )


def test_a_port_of_questdb_being_taken_is_one_line(service: Running, tmp_path: Path):
    pg, ui = free_ports(2)
    taken = Database("", service.settings.questdb_http_port, pg, "admin", PASSWORD)
    settings = settings_of(tmp_path / "data", taken, questdb_host=None)

    result = ended(
        program("run", settings=settings, env=environment(settings, MT_DAGSTER_PORT=str(ui)))
    )

    assert (result.code, result.out) == (1, "starting QuestDB\n")
    assert result.err.startswith(
        f"mt-pipeline: QuestDB cannot listen on 127.0.0.1:{taken.http_port}: "
    )
    assert result.err.endswith("set MT_QUESTDB_HTTP_PORT to another port\n")
    assert result.err.count("\n") == 1


def test_a_provider_that_can_never_work_is_one_line_before_anything_starts(tmp_path: Path):
    """It would else be a code location that does not load, for a reason deep in Dagster's pages."""
    settings = settings_of(
        tmp_path / "data", Database("", *free_ports(2), "admin", PASSWORD), questdb_host=None
    )

    result = ended(
        program(
            "run",
            settings=settings,
            env=environment(settings, MT_ENRICHMENT="offline", MT_OFFLINE_APPS="/nowhere"),
        )
    )

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(
        "mt-pipeline: MT_ENRICHMENT lists offline, but /nowhere cannot be read"
    )
    assert result.err.count("\n") == 1


def test_a_filter_that_tshark_does_not_understand_is_refused_before_anything_starts(tmp_path: Path):
    """Each capture would else fail by itself, for the same reason."""
    settings = settings_of(
        tmp_path / "data", Database("", *free_ports(2), "admin", PASSWORD), questdb_host=None
    )

    result = ended(
        program("run", settings=settings, env=environment(settings, MT_FILTER="tcp and foo"))
    )

    sentence, *below = result.err.splitlines()
    assert (result.code, result.out) == (2, "")
    assert sentence.startswith(
        "mt-pipeline: MT_FILTER: display filter not understood: 'tcp and foo'. tshark: "
    )
    assert below == ["    tcp and foo", "            ^~~"]


def test_a_second_service_on_the_same_data_is_one_line(service: Running):
    result = ended(
        program(
            "run",
            settings=service.settings,
            env=environment(service.settings, MT_DAGSTER_PORT=str(free_ports(1)[0])),
        )
    )

    assert result == Result(
        1,
        "",
        f"mt-pipeline: another service runs on {service.data}: stop it, or set MT_DATA_DIR to "
        "another folder\n",
    )


def test_a_second_service_is_refused_with_a_questdb_elsewhere_too(service: Running):
    """Only the lock of the embedded QuestDB once kept it away."""
    elsewhere = {"MT_QUESTDB_HOST": "127.0.0.1", "MT_DAGSTER_PORT": str(free_ports(1)[0])}

    result = ended(
        program("run", settings=service.settings, env=environment(service.settings, **elsewhere))
    )

    assert result.err.startswith(f"mt-pipeline: another service runs on {service.data}: ")


def test_a_terminal_uses_the_server_of_the_service(dropped: Running, tmp_path: Path):
    result = ended(program("ingest", capture(tmp_path / "beside.pcap"), settings=dropped.settings))

    assert result == Result(0, "beside/beside.pcap: 2 packets, 2 rows in packets_beside\n", "")
    assert len(dropped.rows("beside")) == 2


def test_a_run_that_is_cancelled_in_the_ui_says_so_and_its_tshark_ends(service: Running):
    record = at_work(service, "cancelled/slow.pcap")

    answer = service.query(f'mutation {{terminateRun(runId: "{record.run}") {{__typename}}}}')

    assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"
    assert eventually(lambda: service.record("cancelled/slow.pcap").state is State.FAILED)
    assert (
        service.record("cancelled/slow.pcap").error
        == "cancelled/slow.pcap: its run was cancelled; launch it again"
    )
    assert sleepers(service) == []


def test_a_killed_process_with_the_code_is_started_again(dropped: Running):
    """Nothing watched it: the sensor was never asked again, and the service stayed up, deaf."""

    def has_code(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):  # others end meanwhile
            return process.cmdline()[2:5] == ["mt_pipeline.service.code_server", "api", "grpc"]
        return False

    [killed] = filter(has_code, processes_of(dropped.data))
    killed.kill()
    write_pcap(dropped.data / "inbox" / "kitchen" / "after the kill.pcap", timed(tls_session()))

    assert eventually(
        lambda: (
            (record := dropped.record("kitchen/after the kill.pcap")) and record.state is State.DONE
        )
    )
    assert len(list(filter(has_code, processes_of(dropped.data)))) == 1


def test_ctrl_c_stops_everything_and_the_capture_at_work_is_for_the_next_start(dropped: Running):
    """The last test of this service."""
    at_work(dropped, "given back/slow.pcap")
    assert len(processes_of(dropped.data)) > 3
    dropped.process.send_signal(signal.SIGINT)

    assert dropped.process.wait(SECONDS) == 0
    assert processes_of(dropped.data) == []
    record = dropped.record("given back/slow.pcap")
    assert record is not None
    # The sensor may have asked for a run that never came: the next start repeats it.
    assert (record.state, record.error) == (State.WAITING, None)
    waits = (
        "stopping: waits for Dagster to give 1 capture back to the next start, then QuestDB; "
        "Ctrl-C again ends it at once"
    )
    assert f"\n{waits}\n" in dropped.output.read_text()
    assert "Traceback" not in dropped.output.read_text()
    assert not [file for file in files_below(dropped.data) if file.endswith(".part")]


def test_ctrl_c_twice_ends_it_at_once_and_the_database_is_in_order(tmp_path: Path):
    """Its runs were waited for, 20 s at most, whatever one pressed."""
    with running(tmp_path) as service:
        record = at_work(service, "at once/slow.pcap")
        for process in processes_of(service.data):
            if "dagster" in " ".join(process.cmdline()):
                process.suspend()  # so that it would be waited for
        service.process.send_signal(signal.SIGINT)
        assert eventually(lambda: "stopping: waits for Dagster" in service.output.read_text())
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(SECONDS) == 0
        assert (
            "\nending at once: the next start takes up what was at work\n"
            in service.output.read_text()
        )
        assert eventually(lambda: processes_of(service.data) == [])
        assert not server_folder.has_crashed(service.data / "questdb")
        assert record.state is State.RUNNING


def test_ctrl_c_while_questdb_starts_ends_it(tmp_path: Path):
    """Dagster was started first, and stopped then."""
    settings = settings_of(
        tmp_path / "data", Database("", *free_ports(2), "admin", PASSWORD), questdb_host=None
    )
    process = program(
        "run", settings=settings, env=environment(settings, MT_DAGSTER_PORT=str(free_ports(1)[0]))
    )
    try:
        assert process.stdout.readline() == "starting QuestDB\n"
        process.send_signal(signal.SIGINT)
        result = ended(process)
    finally:
        process.kill()

    assert result == Result(0, "stopping: waits for QuestDB; Ctrl-C again ends it at once\n", "")


def test_a_killed_service_leaves_no_process(tmp_path: Path):
    with running(tmp_path) as service:
        started = processes_of(service.data)
        service.process.kill()
        service.process.wait()

        assert len(started) > 3
        assert eventually(lambda: processes_of(service.data) == []), processes_of(service.data)


def test_without_questdb_the_service_takes_captures_to_parquet(tmp_path: Path):
    with running(tmp_path, MT_BACKENDS="parquet") as service:
        capture(service.data / "inbox" / "no questdb" / "a.pcap")

        assert eventually(
            lambda: (record := service.record("no questdb/a.pcap")) and record.state is State.DONE
        )

        assert len(files_below(service.data / "parquet" / "packets" / "experiment=no_questdb")) == 1
        assert "QuestDB console  none: MT_BACKENDS leaves QuestDB out" in service.output.read_text()
        assert not any("java" in process.name() for process in processes_of(service.data))


def test_questdb_killed_while_a_run_works_is_one_line_and_no_trace(tmp_path: Path):
    """The run that was cancelled for it printed two traces before the reason of the end."""
    with running(tmp_path) as service:
        record = at_work(service, "killed/slow.pcap")
        [java] = [process for process in processes_of(service.data) if "java" in process.name()]
        java.kill()

        assert service.process.wait(SECONDS) == 1
        output = service.output.read_text()

    assert record.state is State.RUNNING
    assert "Stack Trace" not in output
    assert "Traceback" not in output
    assert "Interrupted" not in output
    assert output.splitlines()[-1].startswith("mt-pipeline: QuestDB ended by itself with status -9")
