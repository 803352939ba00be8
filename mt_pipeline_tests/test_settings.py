"""Settings from the environment and from `.env`."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from mt_pipeline.captures.s3 import Bucket
from mt_pipeline.cli.unknown_settings import warnings
from mt_pipeline.enrichment.answers import maintenance
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import PROJECT, Settings, SettingsError, load

SECRETS = ("MT_NETIFY_API_KEY", "MT_QUESTDB_PASSWORD", "MT_QUESTDB_READER_PASSWORD")


def settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)


def test_every_setting_has_a_default_and_a_meaning():
    found = settings()

    assert found.data_dir == PROJECT / "data"
    assert found.inbox_dir == PROJECT / "data" / "inbox"
    assert (found.settle_seconds, found.filter, found.tshark, found.providers) == (
        5,
        "",
        "tshark",
        ("offline",),
    )
    assert (
        found.questdb_host,
        found.questdb_http_port,
        found.questdb_pg_port,
        found.dagster_port,
    ) == (None, 9000, 8812, 3000)
    assert (found.answer_days, found.not_found_days) == (14, 1)
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("MT_FILTER=tcp\nMT_DAGSTER_PORT=3001\nNOT_OURS=1\nMT_OF_A_LATER_RELEASE=1\n")
    monkeypatch.setenv("MT_FILTER", "udp")

    found = Settings(_env_file=dotenv)

    assert (found.filter, found.dagster_port) == ("udp", 3001)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch):
    for name in (
        "MT_INBOX",
        "MT_QUESTDB_HOST",
        "MT_NETIFY_API_KEY",
        "MT_NETIFY_BUDGET_DAY",
        "MT_DAGSTER_PORT",
    ):
        monkeypatch.setenv(name, "")

    found = settings()

    assert (
        found.inbox,
        found.questdb_host,
        found.netify_api_key,
        found.netify_budget_day,
        found.dagster_port,
    ) == (None, None, None, None, 3000)


def test_folders_become_absolute_and_the_home_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Dagster works in a folder of its own, so a relative one would be another there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("MT_DATA_DIR", "here/data")
    monkeypatch.setenv("MT_INBOX", "~/captures")

    found = settings()

    assert (found.data_dir, found.inbox_dir) == (
        tmp_path / "here" / "data",
        Path("/home/ada/captures"),
    )


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://lab:s3cret@db/state",
        "postgresql://lab@db/state?password=s3cret",
        "postgresql://lab@db",
        "mysql://lab@db/state",
        "postgresql://lab@db:port/state",
        "s3cret",
    ],
)
def test_a_place_of_the_state_is_a_postgres_without_a_password(
    monkeypatch: pytest.MonkeyPatch, value: str
):
    monkeypatch.setenv("MT_STATE_URL", value)
    with pytest.raises(SettingsError, match=r"MT_STATE_URL: .*postgresql://user@host") as error:
        load()
    assert "s3cret" not in str(error.value)


def test_the_place_of_the_state_shows_no_password(monkeypatch: pytest.MonkeyPatch):
    assert load().options().state is None
    monkeypatch.setenv("MT_STATE_URL", "postgresql://lab@db:5433/state?sslmode=require")
    monkeypatch.setenv("MT_STATE_PASSWORD", "s3cret")
    state = load().options().state
    assert (str(state), state.password) == ("postgresql://lab@db:5433/state", "s3cret")
    assert "s3cret" not in repr(state)


@pytest.mark.parametrize(
    ("value", "url", "prefix"),
    [
        ("s3://lab-captures", "s3://lab-captures", ""),
        ("s3://lab.captures/field 2026/north/", "s3://lab.captures/field 2026/north",
         "field 2026/north/"),
    ],
)  # fmt: skip
def test_an_inbox_may_be_a_part_of_a_bucket(
    monkeypatch: pytest.MonkeyPatch, value: str, url: str, prefix: str
):
    monkeypatch.setenv("MT_INBOX", value)
    inbox = load().inbox_dir
    assert isinstance(inbox, Bucket)
    assert (str(inbox), inbox.prefix) == (url, prefix)


@pytest.mark.parametrize(
    "value",
    [
        "s3://ada:s3cret@bucket/x",
        "s3://s3cret@bucket",
        "s3://bucket/x?secret=s3cret",
        "s3://bucket//s3cret",
        "s3://bucket/../s3cret",
        "s3://",
        "S3://BUCKET/s3cret",
        "https://s3cret@bucket.s3.example.org/x",
        "gs://s3cret",
    ],
)
def test_an_inbox_by_another_url_is_refused_without_its_text(
    monkeypatch: pytest.MonkeyPatch, value: str
):
    monkeypatch.setenv("MT_INBOX", value)
    with pytest.raises(
        SettingsError, match="MT_INBOX: Input should be a folder, or s3://"
    ) as error:
        load()
    assert "s3cret" not in str(error.value)


def test_lists_of_trackers_are_paths_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    assert settings().tracker_lists == ()
    monkeypatch.setenv("MT_TRACKER_LISTS", "easy.txt, /srv/hosts,")
    assert settings().tracker_lists == (tmp_path / "easy.txt", Path("/srv/hosts"))


@pytest.mark.parametrize(
    ("listed", "key", "providers"),
    [
        (None, None, ("offline",)),
        (None, "k", ("netify", "offline")),
        ("none", "k", ()),
        ("netify", "k", ("netify",)),
        (" netify , offline,", "k", ("netify", "offline")),
        ("", "k", ()),
    ],
)
def test_providers_are_a_list_and_by_default_netify_if_there_is_a_key_then_offline(
    listed: str | None, key: str | None, providers: tuple[str, ...]
):
    assert settings(enrichment=listed, netify_api_key=key).providers == providers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MT_DAGSTER_PORT", "3000.5"),
        ("MT_DAGSTER_PORT", "0"),
        ("MT_QUESTDB_HTTP_PORT", "65536"),
        ("MT_SETTLE_SECONDS", "soon"),
        ("MT_NETIFY_RATE", "0"),
        ("MT_ANSWER_DAYS", "-1"),
        ("MT_NETIFY_BUDGET_DAY", "-1"),
        ("MT_NETIFY_BUDGET_DAY", "many"),
        ("MT_NETIFY_BUDGET_RUN", "0.5"),
        ("MT_BACKENDS", "questdb,parque"),
        ("MT_BACKENDS", "parquet,parquet"),
        ("MT_BACKENDS", ","),
        ("MT_UI_HOSTS", "http://ui.example/"),
        ("MT_UI_HOSTS", "ui.example,*.example"),
        ("MT_QUESTDB_HOST", "http://db.example"),
        ("MT_QUESTDB_HOST", "db.example:9000"),
        ("MT_QUESTDB_USER", "a\nb"),
        ("MT_QUESTDB_READER", "a\x1bb"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{name}: Input should be "):
        load()


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if {int, float} & {field.annotation, *get_args(field.annotation)}
]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "9" * 400])
@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_without_a_limit(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    """It passed, and then every capture failed: no date, no wait and no system has such numbers."""
    monkeypatch.setenv(f"MT_{name.upper()}", value)

    with pytest.raises(SettingsError, match=f"^MT_{name.upper()}: "):
        load()


def test_the_longest_times_can_be_used(tmp_path: Path):
    longest = settings(
        data_dir=tmp_path,
        answer_days=365_000,
        not_found_days=365_000,
        keep_packets_days=365_000,
        tshark_memory_mb=10**12,
    ).options()

    with providers.store(longest) as store:
        assert not maintenance.old(store, datetime.now(UTC) - timedelta(longest.answer_days))
    assert Workspace(longest).tshark.version


@pytest.mark.parametrize("name", ["MT_GRAFANA_URL", "MT_QUESTDB_CONSOLE"])
@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "//grafana.example",
        "grafana.example:3000",
        "ftp://grafana.example",
        "http://",
        "http://ada:s3cret@grafana.example",
        "http://grafana.example/?key=s3cret",
        "http://grafana.example:port",
        "http://grafana.example:99999",
        "http://[::1",
        "http://grafana.example\n",
        'http://grafana.example"onclick=x',
    ],
)
def test_what_becomes_a_link_is_the_address_of_a_page(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{name}: Input should be the address of ") as raised:
        load()
    assert "s3cret" not in str(raised.value)


def test_addresses_and_names_as_people_write_them_are_taken():
    found = settings(
        grafana_url="https://lab.example/grafana/",
        questdb_console="http://[::1]:9000",
        ui_hosts="dagster.example.org, 127.0.0.1:3333,[::1]:3333,my_host",
        questdb_host="::1",
        questdb_user="Ada Müller",
    )

    assert found.grafana_url == "https://lab.example/grafana"
    assert found.questdb_console == "http://[::1]:9000"
    assert found.ui_hosts == ("dagster.example.org", "127.0.0.1:3333", "[::1]:3333", "my_host")


@pytest.mark.parametrize("name", ["MT_DATA_DIR", "MT_INBOX", "MT_QUESTDB_IMPORT_DIR"])
@pytest.mark.parametrize("below", ["", "/a/b"])
def test_a_file_is_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, below: str
):
    """`status` said that there were no captures, and `run` to launch the capture again."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv(name, f"{file}{below}")

    with pytest.raises(
        SettingsError,
        match=f"^{name}: Input should be a folder, and '{file}' is a file: move it away, or choose",
    ):
        load()


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MT_DAGSTER_PORT", "x")
    monkeypatch.setenv("MT_QUESTDB_PG_PORT", "y")

    with pytest.raises(SettingsError, match=r"MT_QUESTDB_PG_PORT: .*; MT_DAGSTER_PORT: "):
        load()


def test_a_misspelt_variable_is_named_with_the_nearest_one_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """It was ignored: a misspelt MT_FILTER lets all packets in, a misspelt budget limits none."""
    (tmp_path / ".env").write_text(
        "MT_NETIFY_BUDGTE_DAY=s3cret\nMT_FILTER=tcp\nNOT_OURS=1\nMT_OF_A_LATER_RELEASE\n"
    )
    monkeypatch.setenv("MT_FLITER", "s3cret")
    monkeypatch.setenv("MT_FILTER", "udp")
    monkeypatch.setenv("mt_inbox", "s3cret")

    assert warnings(dotenv=tmp_path / ".env") == [
        "MT_FLITER in the environment is no setting, so it changes nothing; did you mean "
        "'MT_FILTER'? docs/settings.md lists all",
        f"MT_NETIFY_BUDGTE_DAY in {tmp_path}/.env is no setting, so it changes nothing; did you "
        "mean 'MT_NETIFY_BUDGET_DAY'? "
        "docs/settings.md lists all",
        f"MT_OF_A_LATER_RELEASE in {tmp_path}/.env is no setting, so it changes nothing; "
        "docs/settings.md lists all",
    ]


def test_all_that_the_files_of_the_project_set_are_settings(monkeypatch: pytest.MonkeyPatch):
    """A warning that is always there is read by nobody."""
    files = [
        PROJECT / name
        for name in (
            "compose.yml",
            "Dockerfile",
            "Makefile",
            ".env.example",
            "mt_pipeline/backends/questdb/server.env",
        )
    ]
    named = {
        name
        for file in files
        for name in re.findall(r"\bMT_[A-Z_]+", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    for name in named:
        monkeypatch.setenv(name, "x")

    assert warnings(dotenv=PROJECT / "no such file") == []


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        settings().filter = "tcp"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "s3cret")
    found = settings()

    assert isinstance(getattr(found, name.removeprefix("MT_").lower()), SecretStr)
    assert "s3cret" not in f"{found} {found!r} {found.model_dump()} {found.model_dump_json()}"


def test_a_wrong_value_is_never_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch):
    """A secret that slipped into the wrong line of `.env` would else end in a log."""
    monkeypatch.setenv("MT_DAGSTER_PORT", "s3cret")

    with pytest.raises(SettingsError) as raised:
        load()

    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("letter", "*?[]{}%")
def test_a_data_folder_that_others_read_as_a_pattern_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, letter: str
):
    """Dagster once missed its settings there: telemetry was on, and limits were off."""
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / f"a{letter}b"))
    with pytest.raises(
        SettingsError,
        match=(
            r"^MT_DATA_DIR: .* which Dagster and databases read as patterns: rename the "
            r"folder, or choose another$"
        ),
    ):
        load()


def test_a_data_folder_whose_name_is_not_utf_8_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("MT_DATA_DIR", str(tmp_path / "caf\udce9"))
    with pytest.raises(SettingsError, match=r"^MT_DATA_DIR: .* is not UTF-8"):
        load()
