"""`mt-pipeline run` with `MT_UI_TOKEN=1`: its link signs in, and only a file has the token."""

import re
from collections.abc import Iterator

import psutil
import pytest
import requests

from mt_pipeline_tests.pipelines import files_below
from mt_pipeline_tests.services import Running, processes_of, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(
        tmp_path_factory.mktemp("token"),
        MT_BACKENDS="parquet",
        MT_UI_TOKEN="1",
        MT_UI_HOSTS="ui.example, other.example:81",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def token(service: Running) -> str:
    return (service.data / "dagster" / "ui_token").read_text().strip()


def test_the_printed_link_signs_in_and_nothing_else_does(service: Running, token: str):
    assert f"  Dagster UI       {service.ui}/?token={token}\n" in service.output.read_text()
    with requests.Session() as browser:
        assert browser.get(service.ui, timeout=60).status_code == 401

        shown = browser.get(f"{service.ui}/?token={token}", timeout=60)

        assert (shown.status_code, shown.url, "<html" in shown.text.lower()) == (
            200,
            f"{service.ui}/",
            True,
        )
        assert (
            browser.post(
                f"{service.ui}/graphql", json={"query": "{version}"}, timeout=60
            ).status_code
            == 200
        )
    assert (
        requests.post(f"{service.ui}/graphql", json={"query": "{version}"}, timeout=60).status_code
        == 401
    )


def test_a_program_asks_graphql_with_the_token(service: Running, token: str):
    answer = requests.post(
        f"{service.ui}/graphql",
        json={"query": "{version}"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )

    assert re.fullmatch(r"1\.13\.\d+", answer.json()["data"]["version"])


def test_a_name_of_the_settings_is_answered(service: Running, token: str):
    def asked(host: str) -> int:
        return requests.get(
            f"{service.ui}/runs",
            headers={"Host": host, "Authorization": f"Bearer {token}"},
            timeout=60,
        ).status_code

    assert [
        asked(host) for host in ("ui.example", "other.example:81", "other.example", "evil.example")
    ] == [200, 200, 421, 421]


def test_the_token_is_in_no_command_no_environment_and_no_other_file(service: Running, token: str):
    """Only its owner can read an environment, but every child inherits it."""
    processes = processes_of(service.data)
    assert len(processes) > 3
    for process in processes:
        try:
            assert token not in " ".join(process.cmdline())
            assert token not in " ".join(process.environ().values())
        except psutil.NoSuchProcess:  # a run ends
            continue
    holds = [
        file
        for file in files_below(service.data)
        if token.encode() in (service.data / file).read_bytes()
    ]
    assert holds == ["dagster/ui_token"]
    assert service.output.read_text().count(token) == 2  # in two links
