"""compose.cluster.yml and kubernetes/ agree with their schemas, with one another, and the settings.

`test_cluster_stack.py` starts what they start.
"""

import json
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from dotenv import dotenv_values

from mt_pipeline.backends.questdb import java
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline_tests.compose import CLUSTER, MissingError, Service, named_volumes, resolved
from mt_pipeline_tests.compose import variables as variables_of

GIVEN = {"LAB_FOLDER": "/srv/lab", "LAB_ADDRESS": "10.77.0.1"}
ALL = resolved(GIVEN, CLUSTER)
SERVICES: dict[str, Service] = ALL["services"]
ONE: dict[str, Service] = resolved({"MT_INBOX": "/srv"})["services"]
MACHINES = ("head", "worker")
SETTINGS = {f"MT_{name.upper()}" for name in Settings.model_fields}
KUBERNETES = PROJECT / "kubernetes"
OLDEST, NEWEST = "1.29", "1.37"
PODS = {"head": "head", "worker": "workers"}
"""Services of compose.cluster.yml, and the names of the same in Kubernetes."""


def documents(name: str) -> list[dict[str, object]]:
    return list(yaml.safe_load_all((KUBERNETES / f"{name}.yaml").read_text()))


FILES = sorted(path.stem for path in KUBERNETES.glob("*.yaml") if path.stem != "kustomization")
WORKLOADS = {
    document["metadata"]["name"]: document
    for name in FILES
    for document in documents(name)
    if document["kind"] in ("Deployment", "StatefulSet")
}


def pod(name: str) -> dict[str, object]:
    return WORKLOADS[name]["spec"]["template"]["spec"]


def container(name: str) -> dict[str, object]:
    [only] = pod(name)["containers"]
    return only


def environment(name: str) -> dict[str, str]:
    """Return the environment of a pod, with that of its ConfigMaps."""
    found: dict[str, str] = {}
    for source in container(name).get("envFrom", []):
        [config] = [
            document
            for file in FILES
            for document in documents(file)
            if document["kind"] == "ConfigMap"
            and document["metadata"]["name"] == source["configMapRef"]["name"]
        ]
        found |= config["data"]
    return found | {each["name"]: each["value"] for each in container(name).get("env", [])}


def test_it_is_a_compose_file():
    PyCompose.from_json(json.dumps(ALL)).validate()

    assert named_volumes(SERVICES) == set(ALL["volumes"])
    assert {source for name in SERVICES for source, _ in secrets(name)} == set(ALL["secrets"])
    for name, service in SERVICES.items():
        for need in service.get("depends_on", {}):
            assert SERVICES[need]["profiles"] == service["profiles"], name


def secrets(name: str) -> list[tuple[str, str]]:
    """Return the secrets of a service, each with the name of its file in the container."""
    return [
        (each, each) if isinstance(each, str) else (each["source"], each["target"])
        for each in SERVICES[name]["secrets"]
    ]


def test_without_the_lab_s_folder_and_address_nothing_starts():
    required = [name for name, needed in variables_of(CLUSTER.read_text()).items() if needed]

    assert set(required) == set(GIVEN)
    for name in required:
        with pytest.raises(MissingError, match=f"^{name}: the "):
            resolved({**GIVEN, name: ""}, CLUSTER)


def test_images_and_limits_are_those_of_compose_yml():
    for name in ("postgres", "questdb"):
        assert SERVICES[name]["image"] == ONE[name]["image"]
        assert SERVICES[name]["user"] == ONE[name]["user"]
        assert SERVICES[name]["healthcheck"] == ONE[name]["healthcheck"]
    assert SERVICES["questdb"]["env_file"] == ONE["questdb"]["env_file"]
    assert {SERVICES[name]["image"] for name in MACHINES} == {ONE["code-server"]["image"]}
    for service in SERVICES.values():
        assert service["restart"] == "unless-stopped"
        assert service["logging"] == {"driver": "local"}
        assert service["mem_limit"]
        assert service["pids_limit"]
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(
            service["healthcheck"]
        )


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_may_do_as_little_as_it_needs(name: str):
    service = SERVICES[name]

    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert {"cap_add", "privileged", "devices", "pid", "ipc", "userns_mode"} & set(service) == set()
    assert name in MACHINES or re.fullmatch(r"[1-9]\d*:\d+", str(service["user"]))
    assert ("network_mode" in service) is (name in MACHINES)


def test_servers_listen_in_the_lab_alone_and_pages_on_the_head_alone():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert sorted(published) == sorted(
        f"10.77.0.1:{port}:{port}" for port in (5432, 6379, 8812, 9000)
    )
    assert all("ports" not in SERVICES[name] for name in MACHINES)


def test_no_secret_is_in_an_environment_a_command_or_a_url():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", variable):
                assert variable.endswith(("_FILE", "_DIR")), (name, variable)
            assert not re.search("://[^/]*:[^/]*@", value)
    for name in WORKLOADS:
        for variable, value in environment(name).items():
            if re.search("PASSWORD|SECRET|KEY", variable):
                assert variable.endswith(("_FILE", "_DIR")), (name, variable)
            assert not re.search("://[^/]*:[^/]*@", value)
        assert "secretKeyRef" not in str(container(name))
    assert not [d for file in FILES for d in documents(file) if d["kind"] == "Secret"]


def test_every_variable_of_ours_is_a_setting():
    given = {v for service in SERVICES.values() for v in service.get("environment", {})}
    given |= {variable for name in PODS.values() for variable in environment(name)}
    given |= set(variables_of(CLUSTER.read_text()))

    assert {name for name in given if name.startswith("MT_")} - SETTINGS == set()


def test_make_secrets_makes_what_both_need(tmp_path: Path):
    subprocess.run(
        ["make", "-s", "-f", str(PROJECT / "Makefile"), "secrets"],  # noqa: S607
        cwd=tmp_path,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made = {path.name for path in (tmp_path / "secrets").iterdir()}
    keys = {
        item["key"]
        for name in WORKLOADS
        for volume in pod(name)["volumes"]
        for item in volume.get("secret", {}).get("items", [])
    }

    assert set(ALL["secrets"]) <= made
    assert keys <= made


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", FILES)
def test_it_is_what_kubernetes_takes(name: str, version: str):
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_kustomize_applies_every_file_but_that_for_netify():
    text = (KUBERNETES / "kustomization.yaml").read_text()
    listed = yaml.safe_load(text)

    assert {name.removesuffix(".yaml") for name in listed["resources"]} == {*FILES} - {"netify"}
    assert "# - netify.yaml" in text


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_pod_may_do_as_little_as_it_needs(name: str):
    security = pod(name)["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(name)["automountServiceAccountToken"] is False
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC"} & set(pod(name)) == set()
    assert not [volume for volume in pod(name)["volumes"] if "hostPath" in volume]
    assert container(name)["resources"]["limits"]["memory"]
    assert {"cpu", "memory"} <= set(container(name)["resources"]["requests"])
    assert {"livenessProbe", "readinessProbe"} & set(container(name))


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_mount_has_a_volume_and_every_volume_is_mounted(name: str):
    volumes = {volume["name"] for volume in pod(name)["volumes"]}
    volumes |= {
        claim["metadata"]["name"]
        for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])
    }
    claims = {d["metadata"]["name"] for d in documents("volumes")}

    assert {mount["name"] for mount in container(name)["volumeMounts"]} == volumes
    for volume in pod(name)["volumes"]:
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in claims
    selector = WORKLOADS[name]["spec"]["selector"]["matchLabels"]
    assert WORKLOADS[name]["spec"]["template"]["metadata"]["labels"] == selector


def test_pods_have_the_commands_secrets_and_images_that_containers_have():
    for service, name in PODS.items():
        assert container(name)["args"] == SERVICES[service]["command"]
        assert container(name)["image"] == SERVICES[service]["image"]
        [mounted] = [volume for volume in pod(name)["volumes"] if volume["name"] == "secrets"]
        items = [(item["key"], item["path"]) for item in mounted["secret"]["items"]]
        assert items == secrets(service)
        same = ("MT_DATA_DIR", "MT_INBOX", "MT_SCRATCH_DIR", "MPLCONFIGDIR")
        given = SERVICES[service]["environment"]
        assert {v: environment(name).get(v) for v in same} == {v: given.get(v) for v in same}
    for name in ("postgres", "redis", "questdb"):
        assert container(name)["image"] == SERVICES[name]["image"]
        assert (
            str(pod(name)["securityContext"]["runAsUser"])
            == str(SERVICES[name]["user"]).partition(":")[0]
        )
    assert container("redis")["command"] == [
        text.replace("/run/secrets/", "/run/secrets/mt/") for text in SERVICES["redis"]["command"]
    ]
    assert container("postgres")["args"] == SERVICES["postgres"]["command"]
    [health] = [SERVICES["worker"]["healthcheck"]["test"][1:]]
    assert container("workers")["readinessProbe"]["exec"]["command"] == health


def test_questdb_is_told_the_same_as_everywhere():
    given = environment("questdb")

    assert given.items() >= {**dotenv_values(java.SETTINGS)}.items()
    assert "QDB_HTTP_SECURITY_READONLY" not in given, "rows of other machines come over HTTP"
    assert given["QDB_HTTP_USER"] == environment("head")["MT_QUESTDB_USER"]
    assert given["QDB_PG_READONLY_USER"] == environment("head")["MT_QUESTDB_READER"]


def test_the_network_lets_machines_reach_each_server_and_nothing_else_anything():
    policies = {each["metadata"]["name"]: each["spec"] for each in documents("network")}
    machines = {
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["head", "workers"]}]
    }

    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reached = {
        rule["to"][0]["podSelector"]["matchLabels"]["app"]: [port["port"] for port in rule["ports"]]
        for rule in policies["machines-reach-servers"]["egress"]
    }
    for name in ("postgres", "redis", "questdb"):
        [service] = [each for each in documents(name) if each["kind"] == "Service"]
        ports = [port["port"] for port in service["spec"]["ports"]]
        [rule] = policies[name]["ingress"]
        assert rule["from"] == [{"podSelector": machines}]
        assert [port["port"] for port in rule["ports"]] == ports == reached.pop(name)
        assert [port["containerPort"] for port in container(name)["ports"]] == ports
    assert reached == {}
    addresses = environment("head")
    assert re.search(r"@postgres:5432/", addresses["MT_STATE_URL"])
    assert addresses["MT_BROKER_URL"].startswith("redis://redis:6379/")
    assert addresses["MT_QUESTDB_HOST"] == "questdb"
