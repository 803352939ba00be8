"""The addresses of the explorer: what they answer, and what they refuse."""

from collections.abc import Iterator

import pytest
import requests

from mt_pipeline.explorer.app import OnlyGet, app
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.listing import Links
from mt_pipeline.schema.tables import FLOWS
from mt_pipeline_tests.explorer.loaded import FIRST, ODD, SECOND, Loaded
from mt_pipeline_tests.web.parts import serving

LINKS = Links("http://127.0.0.1:3000", "http://127.0.0.1:9000", "admin", "data/questdb-password")
CALLS = (
    "view table?dimension=app matrix places new?dimension=name conversations captures check python"
).split()


@pytest.fixture(scope="module")
def page(loaded: Loaded) -> Iterator[str]:
    store = loaded.store("parquet")
    with serving(OnlyGet(app(store, loaded.files(store), LINKS))) as port:
        yield f"http://127.0.0.1:{port}"


def ask(page: str, path: str) -> requests.Response:
    return requests.get(f"{page}{path}", timeout=60)


def test_it_lists_experiments_and_dimensions(page: str):
    assert ask(page, f"/api/view?e={FIRST}").ok
    listed = ask(page, "/api/experiments").json()
    dimensions = ask(page, "/api/dimensions").json()

    by_name = {each["name"]: each for each in listed["experiments"]}
    assert {FIRST, SECOND, ODD} <= by_name.keys()
    assert by_name[FIRST]["captures"] == by_name[FIRST]["loaded"] == 3
    assert by_name[FIRST]["failed"] == by_name[FIRST]["refused"] == 0
    assert by_name[FIRST]["changed"] > 10**9
    assert by_name[FIRST]["flows"] > 0
    assert by_name[FIRST]["running"] is False
    assert listed["links"]["console_user"] == "admin"
    assert [each["id"] for each in dimensions] == list(DIMENSIONS)
    assert {each.column for each in DIMENSIONS.values()} <= FLOWS.columns.keys()


@pytest.mark.parametrize("call", CALLS)
def test_every_call_answers_json_that_nobody_keeps(page: str, call: str):
    answer = ask(page, f"/api/{call}{'&' if '?' in call else '?'}e={FIRST}&vs={SECOND}")

    assert answer.ok, answer.text
    assert answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("e=no_such_experiment", 404),
        (f"e={FIRST}&by=nothing", 400),
        (f"e={FIRST}&name=hostile", 400),
        (f"e={FIRST}&name=is", 400),
        (f"e={FIRST}&name=is-none:x", 400),
        (f"e={FIRST}&since=yesterday", 400),
        (f"e={FIRST}&since=99999999999999", 400),
        (f"e={FIRST}&measure=colour", 400),
        (f"e={FIRST}&where=1", 400),
        (f"e={FIRST}&name=is:%ff", 400),
        (f"e={FIRST}&vs=no_such_experiment", 404),
        ("e=..%2f..%2fetc", 404),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(
    page: str, call: str, query: str, status: int
):
    if (call == "python" and status == 404) or (call == "python" and not query):
        pytest.skip("lines of Python need no experiment")
    answer = ask(page, f"/api/{call}{'&' if '?' in call else '?'}{query}")

    assert answer.status_code == status, answer.text
    assert len(answer.json()["error"]) > 10


@pytest.mark.parametrize(
    "path",
    [
        "/api/nothing",
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/",
        "/page/none.js",
        "/download/flows.exe",
        "/download/",
    ],
)
def test_there_is_nothing_else(page: str, path: str):
    answer = requests.Request("GET", page).prepare()
    answer.url = f"{page}{path}"
    with requests.Session() as session:
        assert session.send(answer, timeout=60).status_code == 404


def test_downloads_have_names_that_no_text_of_a_capture_is_in(page: str):
    for query, name in {f"e={FIRST}": FIRST, f"e={FIRST}&e={SECOND}": "2_experiments"}.items():
        answer = ask(page, f"/download/flows.csv?{query}")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}_flows.csv"'
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.content.startswith(b'"ts",')


def test_a_download_is_refused_before_its_first_byte(page: str):
    answer = ask(page, f"/download/packets.pcapng?e={FIRST}&name=is:nobody")

    assert answer.status_code == 409
    assert answer.json() == {"error": f"no packet of {FIRST} is chosen"}
    assert ask(page, "/download/flows.csv?e=nobody").status_code == 404
    head = requests.head(f"{page}/download/packets.pcapng?e={FIRST}", timeout=60)
    assert (head.ok, head.content) == (True, b"")


def test_a_fault_tells_nobody_what_it_was(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, page: str
):
    def fails(*_: object) -> object:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("mt_pipeline.explorer.views.see", fails)
    answer = ask(page, f"/api/view?e={FIRST}")

    assert answer.status_code == 500
    assert "hunter2" not in answer.text
