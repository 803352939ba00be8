"""What the embedded server refuses to readers, to pages of other sites, and without a password."""

import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By

from mt_pipeline.backends.questdb import functions
from mt_pipeline.backends.questdb.java import Reader
from mt_pipeline.backends.questdb.server import Server, start
from mt_pipeline_tests.browsers import chromium, page
from mt_pipeline_tests.services import eventually

USERS = {"admin": "may do all", "reader": "may only read"}
ALL = ("table_to_keep",)
WRITES = (
    "CREATE TABLE by_web (x INT)",
    "DROP TABLE table_to_keep",
    "TRUNCATE TABLE table_to_keep",
    "INSERT INTO table_to_keep VALUES (2)",
    "CREATE VIEW by_web AS (SELECT 1 x)",
    "DROP ALL",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    reader = Reader("reader", USERS["reader"])
    folder = tmp_path_factory.mktemp("access") / "questdb"
    with start(
        folder, http_port=0, pg_port=0, user="admin", password=USERS["admin"], reader=reader
    ) as started:
        ask(started, "CREATE TABLE table_to_keep AS (SELECT 1 x)")
        yield started


def ask(server: Server, sql: str, user: str = "admin") -> list[tuple[object, ...]]:
    login = {"user": user, "password": USERS[user]}
    with psycopg.connect(
        host="127.0.0.1", port=server.pg_port, dbname="qdb", autocommit=True, **login
    ) as connection:
        done = connection.execute(sql, prepare=False)
        return done.fetchall() if done.description else []


def stored(server: Server) -> list[tuple[object, ...]]:
    """Return the tables and views that are not QuestDB's own, and the rows of `table_to_keep`."""
    names = ask(
        server,
        "SELECT table_name FROM tables() "
        "WHERE NOT table_name LIKE 'sys.%' AND NOT table_name LIKE 'telemetry%'",
    )
    return [*names, *ask(server, "SELECT x FROM table_to_keep")]


UNTOUCHED = [ALL, (1,)]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM files('{folder}')",
        "SELECT * FROM files('{folder}/')",
        "SELECT path FROM (files('{folder}'))",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('{folder}/secret.parquet')",
        "SELECT * FROM read_parquet('../../secret.parquet')",
        "SELECT * FROM parquet_scan('{folder}/secret.parquet')",
        "COPY table_to_keep TO '{folder}/taken' WITH FORMAT PARQUET",
        "COPY table_to_keep TO 'taken' WITH FORMAT PARQUET",
    ],
)
def test_no_user_sees_or_writes_files_of_the_machine(server: Server, user: str, statement: str):
    folder = server.folder.parent
    (folder / "secret.parquet").write_bytes(
        next((server.folder / "import").glob("*.parquet")).read_bytes()
    )

    with pytest.raises(psycopg.DatabaseError):
        ask(server, statement.format(folder=folder), user)

    assert not (server.folder / "export").exists()
    assert {path.name for path in folder.iterdir()} == {"secret.parquet", "questdb"}


def test_what_other_functions_need_of_them_stays(server: Server):
    assert ask(server, "SELECT count() FROM long_sequence(3) WHERE glob('files', 'f*')") == [(3,)]
    assert ask(server, "SELECT count() FROM read_parquet('trades.parquet')")[0][0]
    left = ask(
        server, f"SELECT name, signature FROM functions() WHERE name IN {functions.FUNCTIONS}"
    )
    assert [signature for _, signature in left] == ["glob(Ss)"]


def test_a_jar_of_another_version_is_noticed(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "jar", "w") as jar:
        jar.writestr("io/questdb/other.class", b"")
    with pytest.raises(KeyError, match="FilesFunctionFactory"):
        functions.remove(tmp_path / "jar", tmp_path / "copy")


@pytest.mark.parametrize("statement", WRITES)
def test_over_http_nobody_writes(server: Server, statement: str):
    for auth in (None, ("admin", "quest"), ("admin", USERS["admin"]), ("reader", USERS["reader"])):
        for path in ("exec", "exp"):
            done = requests.get(
                f"{url(server)}/{path}", params={"query": statement}, auth=auth, timeout=120
            )
            assert done.status_code != requests.codes.ok or "error" in done.text

    assert stored(server) == UNTOUCHED


def test_over_http_nobody_imports_or_sends_rows(server: Server):
    auth = ("admin", USERS["admin"])
    requests.post(
        f"{url(server)}/imp?name=by_web", files={"data": "x\n1\n"}, auth=auth, timeout=120
    )
    sent = requests.post(
        f"{url(server)}/write", data="table_to_keep x=2i\n", auth=auth, timeout=120
    )
    named = requests.put(
        f"{url(server)}/settings?version=0",
        json={"instance_name": "by_web"},
        auth=auth,
        timeout=120,
    )

    assert (sent.status_code, named.status_code) == (421, requests.codes.unauthorized)
    assert stored(server) == UNTOUCHED


def test_whoever_signs_in_by_http_gets_no_cookie(server: Server):
    """A page of another port of the same machine would send it, too, and other servers get it."""
    signed_in = requests.get(
        f"{url(server)}/exec?query=SELECT 1&session=true",
        auth=("admin", USERS["admin"]),
        timeout=120,
    )

    assert signed_in.json()["dataset"] == [[1]]
    assert "Set-Cookie" not in signed_in.headers


def test_a_page_of_a_name_that_was_bound_to_this_machine_reads_nothing(server: Server):
    headers = {"Host": f"rebound.example:{server.http_port}", "Origin": "http://rebound.example"}
    read = requests.get(
        f"{url(server)}/exec?query=SELECT x FROM table_to_keep", headers=headers, timeout=120
    )

    assert read.status_code == requests.codes.unauthorized
    assert "dataset" not in read.text


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.http_port}"


@pytest.fixture(scope="module")
def signed_in(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """A browser in whose console somebody has signed in and asked something."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        page(browser, url(server), "Sign In")
        for name, text in (("username", "admin"), ("password", USERS["admin"])):
            browser.find_element(By.NAME, name).send_keys(text)
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        assert eventually(
            lambda: "table_to_keep" in browser.find_element(By.TAG_NAME, "body").text, seconds=60
        )
        page(browser, link(server, "SELECT x + 41 AS answer FROM table_to_keep"), "1 row")
        yield browser


def link(server: Server, statement: str) -> str:
    return f"{url(server)}/?query={quote(statement)}&executeQuery=true"


@pytest.fixture(params=["127.0.0.1", "localhost"])
def another_site(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """A page that tries all that a page can.

    `localhost` is another port of this machine, which browsers count as the same site.
    """
    attempts = "".join(
        f"""<img src="{url(server)}/exec?query={quote(statement)}">
        <iframe src="{link(server, statement)}"></iframe>
        <form method=post enctype=text/plain target=f{number}
          action="{url(server)}/exec?query={quote(statement)}"></form>
        <iframe name=f{number}></iframe>
        <form method=post enctype=multipart/form-data target=g{number}
          action="{url(server)}/imp?name=by_web"><input name=data value="x"></form>
        <iframe name=g{number}></iframe>"""
        for number, statement in enumerate(WRITES)
    )
    text = f"""<body>{attempts}<p id=said></p><script>
        for (const form of document.forms) form.submit();
        const read = fetch("{url(server)}/exec?query=SELECT x FROM table_to_keep",
            {{credentials: "include"}}).then(answer => answer.text());
        const blind = fetch("{url(server)}/write", {{method: "POST", mode: "no-cors",
            credentials: "include", body: "table_to_keep x=2i\\n"}});
        Promise.allSettled([read, blind]).then(([result]) =>
            document.getElementById("said").innerText = "tried: " + (result.value || result.status)
        );
    </script></body>"""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://{request.param}:{site.server_port}/"
        site.shutdown()
        thread.join()


def test_a_page_of_another_site_changes_and_reads_nothing(
    server: Server, signed_in: webdriver.Chrome, another_site: str
):
    shown = page(signed_in, another_site, "tried: ")

    assert "tried: rejected" in shown
    assert stored(server) == UNTOUCHED


def test_a_link_to_the_console_changes_nothing(server: Server, signed_in: webdriver.Chrome):
    """The console runs what the link says, as whoever has signed in."""
    for statement in WRITES:
        page(signed_in, link(server, statement), "ermission denied")

    assert stored(server) == UNTOUCHED


def test_an_address_with_user_and_password_is_no_way_in_that_a_browser_remembers(
    server: Server, signed_in: webdriver.Chrome
):
    with_password = (
        f"http://admin:{quote(USERS['admin'])}@127.0.0.1:{server.http_port}/exec?query=SELECT 1"
    )

    assert page(signed_in, with_password, "Unauthorized") == "Unauthorized"
