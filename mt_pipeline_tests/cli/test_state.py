"""`mt-pipeline state move` as it is typed: to Postgres and back, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from mt_pipeline_tests.pipeline.state_move.states import content, fill, options_of
from mt_pipeline_tests.pipelines import Result, files_below, run_command
from mt_pipeline_tests.postgres import PASSWORD, Server

Terminal = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a data folder with a state."""
    folder = tmp_path / "data"
    fill(options_of(folder))
    monkeypatch.setenv("MT_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Give the command line."""
    return lambda *arguments: run_command(monkeypatch, capsys, arguments)


def test_it_says_what_was_moved_and_what_to_set_and_then_all_is_as_before(
    data: Path, terminal: Terminal, postgres_server: Server, monkeypatch: pytest.MonkeyPatch
):
    url = postgres_server.state.url
    before = terminal("status", "--json").out
    monkeypatch.setenv("MT_STATE_PASSWORD", PASSWORD)

    there = terminal("state", "move", "--to", url)

    assert (there.code, there.err) == (0, "")
    assert f"{url} has all of it" in there.out
    assert "3 captures" in there.out
    assert f"MT_STATE_URL={url}" in there.out
    (data / "ledger.sqlite").rename(data.parent / "ledger.sqlite")
    (data / "cache").rename(data.parent / "cache")
    monkeypatch.setenv("MT_STATE_URL", url)
    assert terminal("status", "--json").out == before

    back = terminal("state", "move", "--to", "folder")

    assert (back.code, back.err) == (0, "")
    assert "take MT_STATE_URL away" in back.out
    monkeypatch.delenv("MT_STATE_URL")
    assert terminal("status", "--json").out == before
    assert content(options_of(data)) == content(options_of(data, postgres_server.state))
    said = there.out + there.err + back.out + back.err
    assert PASSWORD not in said + "".join(
        (data / file).read_bytes().decode(errors="replace") for file in files_below(data)
    )


@pytest.mark.parametrize("how", ["PGPASSWORD", "PGPASSFILE"])
def test_libpqs_own_ways_to_know_the_password_work(
    data: Path,
    terminal: Terminal,
    postgres_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    how: str,
):
    file = tmp_path / "pgpass"
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    file.write_text(f"127.0.0.1:{postgres_server.port}:*:lab:{escaped}\n")
    file.chmod(0o600)
    monkeypatch.setenv(how, PASSWORD if how == "PGPASSWORD" else str(file))
    assert terminal("state", "move", "--to", postgres_server.state.url).code == 0


def test_a_wrong_password_and_one_in_the_address_are_refused_and_not_repeated(
    data: Path, terminal: Terminal, postgres_server: Server, monkeypatch: pytest.MonkeyPatch
):
    url = postgres_server.state.url
    monkeypatch.setenv("MT_STATE_PASSWORD", "s3cret")
    wrong = terminal("state", "move", "--to", url)
    assert wrong.code == 1
    assert "correct the user of MT_STATE_URL, or MT_STATE_PASSWORD" in wrong.err

    within = terminal("state", "move", "--to", url.replace("lab@", f"lab:{quote('s3cret')}@"))
    assert within.code == 2
    assert "without a password" in within.err

    for refused in (wrong, within, terminal("state", "move", "--to", str(data))):
        assert refused.err.count("\n") == 1
        assert "s3cret" not in refused.out + refused.err
