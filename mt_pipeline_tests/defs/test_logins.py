"""Who the pipeline is in QuestDB: with which password, and as whom it reads."""

from pathlib import Path

import pytest

from mt_pipeline.backends.loads import Refused
from mt_pipeline.backends.questdb.server import Server, start
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings


def workspace(data: Path, **given: object) -> Workspace:
    return Workspace(Settings(_env_file=None, data_dir=data, **given).options())


def test_the_embedded_questdb_has_passwords_of_its_own_also_without_a_setup(tmp_path: Path):
    found = workspace(tmp_path / "data")

    user, password = found.logins.admin
    assert (user, found.logins.reader.name) == ("admin", "reader")
    assert len({password, found.logins.reader.password, "quest"}) == 3
    assert workspace(tmp_path / "data").logins.admin == found.logins.admin
    assert workspace(tmp_path / "other").logins.admin != found.logins.admin
    assert {file.name for file in (tmp_path / "data").iterdir()} == {
        "questdb-password",
        "questdb-reader-password",
    }


def test_the_setup_makes_them_also_in_an_older_data_folder(tmp_path: Path):
    (tmp_path / "data" / "questdb").mkdir(parents=True)

    dagster_home.prepare(workspace(tmp_path / "data").options)

    assert workspace(tmp_path / "data").logins.admin == (
        "admin",
        (tmp_path / "data" / "questdb-password").read_text().strip(),
    )


def test_settings_win_and_then_no_file_is_made(tmp_path: Path):
    given = {
        "questdb_user": "ada",
        "questdb_password": "hers",
        "questdb_reader": "bob",
        "questdb_reader_password": "his",
    }
    found = workspace(tmp_path / "data", **given)
    dagster_home.prepare(found.options)

    assert (found.logins.admin, found.logins.reader.name, found.logins.reader.password) == (
        ("ada", "hers"),
        "bob",
        "his",
    )
    assert list((tmp_path / "data").glob("questdb-*")) == []


@pytest.mark.parametrize(
    ("given", "login"),
    [({}, ("admin", "quest")), ({"questdb_password": "s3cret"}, ("admin", "s3cret"))],
)
def test_a_questdb_of_the_users_own_has_its_default_password_if_none_is_set(
    tmp_path: Path, given: dict[str, str], login: tuple[str, str]
):
    found = workspace(tmp_path / "data", questdb_host="db.example", **given)
    dagster_home.prepare(found.options)

    assert (found.logins.admin, found.logins.reader) == (login, None)
    assert found.reading() == found.database()
    assert list((tmp_path / "data").glob("questdb-*")) == []


def test_what_reads_is_the_user_who_may_only_read(tmp_path: Path):
    found = workspace(tmp_path / "data", questdb_host="db.example", questdb_reader_password="his")

    assert (found.reading().user, found.reading().password, found.reading().host) == (
        "reader",
        "his",
        "db.example",
    )


def test_rows_go_as_files_to_a_questdb_that_shares_a_folder(tmp_path: Path):
    found = workspace(
        tmp_path / "data", questdb_host="db.example", questdb_import_dir=tmp_path / "imports"
    ).database()

    assert (found.import_folder, found.folder) == (tmp_path / "imports", None)


def test_a_server_of_an_earlier_release_that_still_runs_is_named_with_the_cure(tmp_path: Path):
    found = workspace(tmp_path / "data")
    with (
        start(found.questdb_folder, http_port=0, pg_port=0, user="admin", password="quest"),
        found.questdb(),
    ):
        for login in (found.database(), found.reading()):
            cure = (
                f"refuses the user {login.user}: it was started with another password, "
                "as by an earlier release: stop the service"
            )
            with pytest.raises(Refused, match=cure), login.connect():
                pass


def test_the_server_that_was_started_lets_both_in(tmp_path: Path):
    found = workspace(tmp_path / "data", questdb_http_port=1, questdb_pg_port=1)
    user, password = found.logins.admin
    server: Server = start(
        found.questdb_folder,
        http_port=0,
        pg_port=0,
        user=user,
        password=password,
        reader=found.logins.reader,
    )
    with server:
        for login in (found.database(), found.reading()):
            with login.connect() as connection:
                assert connection.execute("SELECT 42").fetchone() == (42,)
