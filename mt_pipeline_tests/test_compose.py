"""compose.yml and the Dockerfile agree with the settings. `test_stack.py` runs them."""

import json
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose
from dotenv import dotenv_values

from mt_pipeline import __version__
from mt_pipeline.backends.questdb import jar, java
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline_tests.compose import (
    FILE,
    MissingError,
    Service,
    named_volumes,
    resolved,
    variables,
)
from mt_pipeline_tests.test_stack import SECRETS

REQUIRED = [name for name, required in variables().items() if required]
GIVEN = {"MT_INBOX": "/srv/captures"}
ALL = resolved(GIVEN)
SERVICES: dict[str, Service] = ALL["services"]
OURS = ("code-server", "webserver", "explorer", "daemon")
VARIABLES = {f"MT_{name.upper()}" for name in Settings.model_fields}
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
QUESTDB_CONNECTIONS = 64
"""How many QuestDB allows over PostgreSQL by default."""


def of(name: str) -> object:
    return yaml.safe_load((PROJECT / name).read_text())


def each(what: str) -> list[object]:
    return [SERVICES[name].get(what) for name in SERVICES]


def test_it_is_a_compose_file():
    PyCompose.from_json(json.dumps(ALL)).validate()

    assert {name for service in SERVICES.values() for name in service.get("depends_on", {})} <= set(
        SERVICES
    )
    assert named_volumes(SERVICES) == set(ALL["volumes"])
    assert {
        secret for service in SERVICES.values() for secret in service.get("secrets", [])
    } == set(ALL["secrets"])


def test_without_the_watched_folder_nothing_starts():
    assert REQUIRED == ["MT_INBOX"]
    with pytest.raises(MissingError, match=r"^MT_INBOX: the folder "):
        resolved({})


def test_nothing_is_published_but_to_this_machine():
    published = [port for ports in each("ports") for port in ports or []]

    assert len(published) == 5
    assert [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []
    assert len({port.split(":")[1] for port in published}) == len(published), (
        "two services would share a port"
    )


def test_every_image_is_of_one_version():
    images = {name: service["image"] for name, service in SERVICES.items()}

    assert [
        image for image in images.values() if not re.fullmatch(r"[\w/-]+:v?\d+\.\d+(\.\d+)?", image)
    ] == []
    assert images["questdb"].endswith(f":{jar.VERSION}")
    assert {images[name] for name in OURS} == {f"mt_pipeline:{__version__}"}
    assert [name for name, service in SERVICES.items() if "build" in service] == list(OURS)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {
        "python:3.11.15-slim-bookworm"
    }
    assert re.fullmatch(
        r"questdb-questdb-datasource@\d+\.\d+\.\d+",
        SERVICES["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"],
    )


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_restarted_and_limited(name: str):
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"] == {"driver": "local"}, "other drivers keep all logs for ever"
    assert service["networks"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_may_do_as_little_as_it_needs(name: str):
    """A new service without these lines fails here."""
    service = SERVICES[name]

    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert {"cap_add", "privileged", "devices", "pid", "ipc", "network_mode", "userns_mode"} & set(
        service
    ) == set()
    assert name in OURS or re.fullmatch(r"[1-9]\d*:\d+", str(service["user"])), (
        "whoever begins as root needs capabilities to become another"
    )
    assert any(mount.partition(":")[0] == "/tmp" for mount in service["tmpfs"])  # noqa: S108  in a container it is nobody else's
    assert [volume for volume in service.get("volumes", []) if "docker.sock" in str(volume)] == []


def test_a_service_starts_when_those_that_it_needs_are_healthy():
    needs = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}

    assert needs["code-server"] == {"questdb", "postgres"}
    assert needs["webserver"] == needs["daemon"] == {"code-server", "postgres"}
    assert needs["grafana"] == {"questdb"}
    assert needs["explorer"] == {"questdb", "webserver"}
    assert {
        need["condition"]
        for service in SERVICES.values()
        for need in service.get("depends_on", {}).values()
    } == {"service_healthy"}


def test_no_secret_stands_in_the_file():
    assert "quest:" not in FILE.read_text().replace("questdb:", "")
    assert ALL["secrets"] == {name: {"file": f"./secrets/{name}"} for name in SECRETS}
    assert "/secrets/" in (PROJECT / ".gitignore").read_text().splitlines()
    assert not any(
        fnmatch("secrets", line.removeprefix("!"))
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    )


SECRET = re.compile(
    "PASSWORD|(?<!UI_)TOKEN|SECRET|KEY|CREDENTIAL"
)  # MT_UI_TOKEN only says that there is one


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment_of_a_service(name: str):
    """Whoever may inspect a container sees its environment, so a secret is a file."""
    service = SERVICES[name]
    named = {
        variable: value
        for variable, value in service["environment"].items()
        if SECRET.search(variable)
    }

    assert [
        variable for variable in named if not re.fullmatch(r"\w+_FILE|MT_SECRETS_DIR", variable)
    ] == []
    files = {value.removeprefix("/run/secrets/") for value in named.values()} - {"/run/secrets"}
    assert files <= set(service.get("secrets", []))
    assert not SECRET.search(
        " ".join(variables(yaml.dump(yaml.safe_load(FILE.read_text())["services"][name])))
    )


def test_a_service_is_given_the_secrets_that_it_needs_and_no_others():
    assert {name: set(service["secrets"]) for name, service in SERVICES.items()} == {
        "questdb": {"mt_questdb_password", "mt_questdb_reader_password"},
        "postgres": {"postgres_password"},
        "code-server": {
            "mt_questdb_password",
            "mt_questdb_reader_password",
            "mt_netify_api_key",
            "postgres_password",
        },
        "webserver": {"postgres_password"},
        "explorer": {"mt_questdb_reader_password"},
        "daemon": {"postgres_password"},
        "grafana": {
            "gf_security_admin_password",
            "gf_rendering_renderer_token",
            "mt_questdb_reader_password",
        },
        "renderer": {"gf_rendering_renderer_token"},
    }


def made(folder: Path) -> dict[str, str]:
    """Say `make secrets` in a folder; returns what is in the files then."""
    subprocess.run(
        ["make", "-s", "-f", str(PROJECT / "Makefile"), "secrets"],  # noqa: S607
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )  # noqa: RUF100, S607
    return {file.name: file.read_text() for file in (folder / "secrets").iterdir()}


def test_make_secrets_makes_each_once_for_containers_alone_to_read(tmp_path: Path):
    first = made(tmp_path)

    assert set(first) == {*SECRETS, "mt_broker_password"}
    assert first.pop("mt_netify_api_key") == ""
    assert len(set(first.values())) == len(first)
    assert [secret for secret in first.values() if not re.fullmatch("[0-9a-f]{48}", secret)] == []
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o644}
    (tmp_path / "secrets" / "postgres_password").write_text("mine")
    assert made(tmp_path) == {**first, "mt_netify_api_key": "", "postgres_password": "mine"}


def test_make_secrets_takes_over_those_of_an_earlier_release(tmp_path: Path):
    (tmp_path / ".env").write_text(
        "MT_QUESTDB_PASSWORD=abc123\nPOSTGRES_PASSWORD='it is quoted'\nMT_NETIFY_API_KEY=\"key\"\n"
        "MT_INBOX=/srv\n"
    )

    taken = made(tmp_path)

    assert (
        taken["mt_questdb_password"],
        taken["postgres_password"],
        taken["mt_netify_api_key"],
    ) == ("abc123", "it is quoted", "key")
    assert len(taken["mt_questdb_reader_password"]) == 48


def test_env_example_names_all_that_is_required_and_has_no_secret():
    lines = (PROJECT / ".env.example").read_text().splitlines()

    assert [line for line in lines if line.startswith("# MT_INBOX=")]
    assert [line for line in lines if re.search("(PASSWORD|TOKEN|KEY)=.", line)] == []


def test_every_variable_of_ours_is_a_setting():
    given = {
        name
        for service in SERVICES.values()
        for name in service.get("environment", {})
        if name.startswith("MT_")
    }

    assert given - VARIABLES == set()
    assert {name for name in variables() if name.startswith("MT_")} - VARIABLES == set()


def test_every_setting_reaches_the_code_server_but_for_those_that_mean_nothing_there():
    """A new setting is a line in compose.yml, or one here."""
    of_the_image = {"MT_TSHARK"}
    of_others = {"MT_DAGSTER_PORT", "MT_UI_HOSTS", "MT_UI_TOKEN"}
    of_others |= {"MT_EXPLORER_PORT", "MT_EXPLORER_MEMORY_MB"}
    of_several_machines = {"MT_STATE_URL", "MT_STATE_PASSWORD", "MT_SCRATCH_DIR"}
    of_several_machines |= {"MT_BROKER_URL", "MT_BROKER_PASSWORD", "MT_SLOTS"}
    given = {name.upper() for name in SERVICES["code-server"]["secrets"]} | set(
        SERVICES["code-server"]["environment"]
    )

    assert given & VARIABLES == VARIABLES - of_the_image - of_others - of_several_machines


def test_the_web_server_is_the_one_that_checks_who_asks_and_is_told_what_browsers_call_it():
    """Dagster's own would answer every page; and browsers must name the port that it listens on."""
    given = resolved(
        {
            **GIVEN,
            "MT_DAGSTER_PORT": "3005",
            "MT_UI_HOSTS": "dagster.example.org",
            "MT_UI_TOKEN": "1",
        }
    )["services"]["webserver"]
    module, *options = given["command"][2:]

    assert given["command"][:2] == ["python", "-m"]
    assert (PROJECT / f"{module.replace('.', '/')}.py").is_file()
    assert dict(zip(options[::2], options[1::2], strict=True)) == {
        "-w": "workspace.docker.yaml",
        "--host": "0.0.0.0",  # noqa: S104
        "--port": "3005",
        "--hosts": "dagster.example.org",
        "--token": "1",
        "--reports": "/data/reports",
        "--explorer": "3001",
    }
    assert [volume for volume in given["volumes"] if "reports" in str(volume)] == [
        "reports:/data/reports:ro"
    ]
    assert given["ports"] == ["127.0.0.1:3005:3005"]
    assert "http://127.0.0.1:3005/server_info" in given["healthcheck"]["test"][-1]
    assert not [
        name for name in SERVICES if "dagster-webserver" in str(SERVICES[name].get("command"))
    ]


def test_a_file_of_the_offline_provider_is_there_only_if_it_is_set():
    given = resolved({**GIVEN, "MT_OFFLINE_APPS": "geo/apps.conf"})["services"]["code-server"]

    assert (
        given["environment"]["MT_OFFLINE_APPS"],
        given["environment"]["MT_OFFLINE_CITY_MMDB"],
    ) == ("/offline/apps.conf", "")
    assert {
        mount["target"]: mount["source"] for mount in given["volumes"] if isinstance(mount, dict)
    } == {
        "/data/dagster/dagster.yaml": "./dagster.docker.yaml",
        "/inbox": "/srv/captures",
        "/offline/apps.conf": "geo/apps.conf",
        "/offline/asn.mmdb": "/dev/null",
        "/offline/city.mmdb": "/dev/null",
        "/offline/parties.csv": "/dev/null",
        "/offline/trackers.txt": "/dev/null",
        "/offline/devices.csv": "/dev/null",
    }


def test_what_lies_on_the_machine_can_only_be_read():
    mounts = [
        mount
        for volumes in each("volumes")
        for mount in volumes or []
        if not isinstance(mount, str)
    ]

    assert len(mounts) == 13
    assert all(
        mount["read_only"] and mount["bind"] == {"create_host_path": False} for mount in mounts
    )
    assert [
        mount["source"]
        for mount in mounts
        if mount["source"].startswith(".") and not (PROJECT / mount["source"]).exists()
    ] == []
    assert [name for name in SERVICES if "/inbox" in str(SERVICES[name].get("volumes"))] == [
        "code-server",
        "explorer",
    ]


def test_grafana_reaches_neither_dagster_nor_its_state_and_the_renderer_only_grafana():
    """Dagster's pages have no login, and a browser that draws pages should see nothing else."""
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}

    assert {name for name, known in networks.items() if known & networks["postgres"]} == {
        "postgres",
        *OURS,
    } - {"explorer"}
    assert {name for name, known in networks.items() if known & networks["renderer"]} == {
        "renderer",
        "grafana",
    }
    assert {name for name, known in networks.items() if known & networks["grafana"]} == {
        "grafana",
        "questdb",
        "renderer",
    }
    assert {name for name, known in networks.items() if known & networks["explorer"]} == {
        "explorer",
        "questdb",
    }
    assert ALL["networks"]["pictures"] == {"internal": True}


def test_telemetry_sign_up_and_guests_are_off_everywhere():
    grafana = SERVICES["grafana"]["environment"]

    for name in (
        "AUTH_ANONYMOUS_ENABLED",
        "USERS_ALLOW_SIGN_UP",
        "ANALYTICS_REPORTING_ENABLED",
        "ANALYTICS_CHECK_FOR_UPDATES",
    ):
        assert grafana[f"GF_{name}"] == "false"
    for name in (
        "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "NEWS_NEWS_FEED_ENABLED",
        "SNAPSHOTS_EXTERNAL_ENABLED",
        "PLUGINS_PREINSTALL_AUTO_UPDATE",
    ):
        assert grafana[f"GF_{name}"] == "false"
    assert dotenv_values(java.SETTINGS)["QDB_TELEMETRY_ENABLED"] == "false"
    assert of("dagster.docker.yaml")["telemetry"] == {"enabled": False}


def test_both_questdb_servers_are_told_the_same():
    own = set(SERVICES["questdb"]["environment"])

    assert PROJECT / SERVICES["questdb"]["env_file"] == java.SETTINGS
    assert len(dotenv_values(java.SETTINGS)) > 8
    assert own & set(dotenv_values(java.SETTINGS)) == set()
    assert [
        name
        for name in SERVICES["questdb"]["environment"]
        if not re.fullmatch(
            "QDB_(HTTP|PG)_(NET_BIND_TO|USER|PASSWORD_FILE|READONLY_(USER(_ENABLED)?|PASSWORD_FILE))",
            name,
        )
    ] == [
        "QDB_HTTP_SECURITY_READONLY",
        "QDB_CAIRO_SQL_COPY_ROOT",
    ]


def test_both_dagster_instances_are_set_alike_but_for_the_storage():
    assert {
        name: value for name, value in of("dagster.docker.yaml").items() if name != "storage"
    } == of("dagster.yaml")
    postgres = of("dagster.docker.yaml")["storage"]["custom"]["config"]
    assert {value["env"] for value in postgres.values() if isinstance(value, dict)} <= set(
        SERVICES["daemon"]["environment"]
    )


def test_both_workspaces_have_one_location_of_one_name():
    [server], [module] = of("workspace.docker.yaml")["load_from"], of("workspace.yaml")["load_from"]

    assert server["grpc_server"]["location_name"] == module["python_module"]["location_name"]
    assert SERVICES["code-server"]["command"][-1] == module["python_module"]["module_name"]


def test_grafana_asks_questdb_as_the_reader_and_leaves_connections_for_the_pipeline():
    [source] = of("grafana/provisioning/datasources/questdb.yaml")["datasources"]
    result = source["jsonData"]

    assert (source["type"], source["uid"]) == ("questdb-questdb-datasource", "questdb")
    assert (result["server"], result["port"], result["tlsMode"]) == ("questdb", 8812, "disable")
    assert (result["username"], source["secureJsonData"]["password"]) == (
        "$MT_QUESTDB_READER",
        "$__file{/run/secrets/mt_questdb_reader_password}",
    )
    assert "MT_QUESTDB_READER" in SERVICES["grafana"]["environment"]
    assert result["maxIdleConnections"] <= result["maxOpenConnections"] < QUESTDB_CONNECTIONS / 2
    assert all(
        isinstance(result[name], int)
        for name in result
        if name.startswith("max") or "imeout" in name
    )


def test_grafana_finds_its_dashboards():
    [provider] = of("grafana/provisioning/dashboards/mt_pipeline.yaml")["providers"]

    assert provider["options"]["path"] in [
        mount["target"] for mount in SERVICES["grafana"]["volumes"] if not isinstance(mount, str)
    ]


def test_the_image_is_not_root_and_holds_only_what_is_named():
    *_, user = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    copied = {
        name
        for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    }
    first, *rest = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert user != "root"
    assert DOCKERFILE.count("--require-hashes") == 2
    assert first == "*"
    assert {name for name in copied if not (PROJECT / name).exists()} == set()
    assert {line.removeprefix("!") for line in rest if line.startswith("!")} == copied
    assert any(fnmatch("mt_pipeline/__pycache__", line) for line in rest)


def test_the_image_takes_uv_from_the_lock():
    [extract] = re.findall(r"sed -n '/\^(\w+)==/,/(# via)/p' requirements.lock", DOCKERFILE)
    [entry] = re.findall(
        rf"^{extract[0]}==.*?{extract[1]}",
        (PROJECT / "requirements.lock").read_text(),
        re.MULTILINE | re.DOTALL,
    )

    assert len(re.findall("^[a-z]", entry, re.MULTILINE)) == 1
    assert "--hash=sha256:" in entry
