"""The explorer as a child of `mt-pipeline run`, and by `mt-pipeline explore`."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from mt_pipeline.captures.records import State
from mt_pipeline.service import explorer_process
from mt_pipeline.system.passwords import password_in
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import tls_session
from mt_pipeline_tests.pipelines import environment, program
from mt_pipeline_tests.services import Running, eventually, processes_of, running

KEY = "kitchen/one.pcap"
TOKEN_FILE = Path("dagster", "ui_token")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), MT_UI_TOKEN="true") as started:
        folder = started.data / "inbox" / "kitchen"
        folder.mkdir()
        write_pcap(started.data / "inbox" / KEY, timed(tls_session()))
        assert eventually(lambda: (record := started.record(KEY)) and record.state is State.DONE)
        assert eventually(lambda: explorer_process.answers(started.settings))
        yield started


def explorer_of(service: Running) -> psutil.Process:
    (found,) = [
        process
        for process in processes_of(service.data)
        if "mt_pipeline.service.explorer_server" in process.cmdline()
        and process.name() != "setpriv"
    ]
    return found


def ask(service: Running, path: str, *, method: str = "GET", **headers: str) -> requests.Response:
    token = (service.data / TOKEN_FILE).read_text().strip()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(
        method,
        f"{service.explorer}{path}",
        headers={"Authorization": f"Bearer {token}", **named},
        timeout=60,
        allow_redirects=False,
    )


def test_its_link_signs_in_with_the_token_of_the_ui(service: Running):
    token = (service.data / TOKEN_FILE).read_text().strip()
    link = f"{service.explorer}/?token={token}"
    assert f"  Explorer         {link}\n" in service.output.read_text()

    with requests.Session() as session:
        assert session.get(link, timeout=60).ok
        assert session.get(f"{service.explorer}/api/experiments", timeout=60).ok


@pytest.mark.parametrize("path", ["/", "/api/view?e=kitchen", "/download/flows.csv?e=kitchen"])
def test_without_the_token_it_says_nothing(service: Running, path: str):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "mt_ui_1=x"}):
        answer = requests.get(f"{service.explorer}{path}", headers=headers, timeout=60)
        assert answer.status_code == 401
        assert "kitchen" not in answer.text


def test_it_shows_what_was_dropped(service: Running):
    found = ask(service, "/api/view?e=kitchen").json()

    assert found["totals"]["packets"] == len(tls_session())
    listed = ask(service, "/api/experiments").json()
    assert [each["name"] for each in listed["experiments"]] == ["kitchen"]
    assert listed["links"]["dagster"] == service.ui
    assert str(service.settings.questdb_http_port) in listed["links"]["console"]
    assert Path(listed["links"]["console_password_file"]).is_file()


def test_its_downloads_have_the_packets(service: Running):
    answer = ask(service, "/download/packets.pcapng?e=kitchen")

    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="kitchen_packets.pcapng"'
    )
    assert answer.content.startswith(b"\x0a\x0d\x0d\x0a")
    assert answer.content.count(tls_session()[0]) >= 1
    left = [path for path in (service.data / "tmp").rglob("*") if "download" in path.name]
    assert left == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_can_be_read_and_nothing_else(service: Running, method: str):
    answer = ask(service, "/api/view?e=kitchen", method=method, Content_Type="application/json")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_other_hosts_and_other_sites_are_refused(service: Running):
    path = "/api/view?e=kitchen"
    assert ask(service, path, Host="evil.example").status_code == 421
    assert (
        ask(service, path, Host=f"evil.example:{service.settings.explorer_port}").status_code == 421
    )
    assert ask(service, path, Origin="http://evil.example").status_code == 403
    assert ask(service, path, Sec_Fetch_Site="cross-site").status_code == 403
    assert ask(service, path, Sec_Fetch_Site="same-site").status_code == 403
    assert ask(service, path, Sec_Fetch_Site="same-origin").ok
    assert ask(service, path, method="HEAD").ok


def test_its_page_may_run_its_own_scripts_alone(service: Running):
    policy = ask(service, "/").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_it_knows_no_secret_but_the_password_of_the_user_who_may_only_read(service: Running):
    given = explorer_of(service).environ()
    options = service.settings.options()
    admin = password_in(options.questdb_password_file)
    reader = password_in(options.questdb_reader_password_file)

    assert admin not in given.values()
    assert {name for name, value in given.items() if value == reader} == {
        "MT_QUESTDB_READER_PASSWORD"
    }
    assert {name for name in given if "PASSWORD" in name or "KEY" in name or "SECRET" in name} == {
        "MT_QUESTDB_READER_PASSWORD"
    }
    assert not any(name.startswith("DAGSTER") for name in given)


def test_if_it_ends_by_itself_it_starts_again_and_the_service_goes_on(service: Running):
    explorer_of(service).kill()

    assert eventually(
        lambda: "the explorer ended by itself with status -9" in service.output.read_text()
    )
    assert eventually(lambda: explorer_process.answers(service.settings))
    assert service.process.poll() is None
    assert ask(service, "/api/view?e=kitchen").ok


def test_the_command_prints_the_link_of_the_service_that_runs(service: Running):
    result = program(
        "explore",
        "Kitchen",
        "--no-browser",
        settings=service.settings,
        env=environment(
            service.settings,
            MT_EXPLORER_PORT=str(service.settings.explorer_port),
            MT_UI_TOKEN="true",
        ),
    )
    output, errors = result.communicate(timeout=60)

    token = (service.data / TOKEN_FILE).read_text().strip()
    assert (result.returncode, output) == (
        0,
        f"{service.explorer}/?token={token}&e=kitchen\n",
    ), errors


def test_a_port_that_is_taken_costs_the_explorer_and_nothing_else(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, MT_EXPLORER_PORT=str(port)) as service:
            assert (
                f"  Explorer         none: port {port} for the explorer cannot be used "
                "(Address already in use): stop what listens there, or set MT_EXPLORER_PORT\n"
            ) in service.output.read_text()
            assert requests.get(f"{service.ui}/server_info", timeout=60).ok
            os.kill(service.process.pid, signal.SIGTERM)
            assert service.process.wait(120) == 0


def test_it_ends_with_the_service(tmp_path: Path):
    with running(tmp_path) as service:
        assert eventually(lambda: explorer_process.answers(service.settings))
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(60)

        assert eventually(lambda: not explorer_process.answers(service.settings), seconds=60)
