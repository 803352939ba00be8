"""The providers of the settings; and that of another package, the example of the docs."""

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.options import Options
from mt_pipeline.settings import PROJECT, Settings, SettingsError
from mt_pipeline_tests.enrichment.city_files import city_file

EXAMPLE = re.compile(r"^```\w+\n# (lab-list/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

USE = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from mt_pipeline import settings
from mt_pipeline.pipeline import providers
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, endpoints_file
folder = Path(sys.argv[1])
options = settings.load().options()
providers.check(options)
with providers.opened(options, run="") as (chain, store):
    endpoints = endpoints_file(folder / "in", [GOOGLE, NETFLIX])
    enrich(endpoints, folder / "out", providers=chain, store=store)
rows = pq.read_table(folder / "out").to_pylist()
print([tuple(row[n] for n in ("endpoint", "provider", "app_tag", "geo_country")) for row in rows])
"""


def options_of(folder: Path, **given: object) -> Options:
    return Settings(_env_file=None, **{"data_dir": folder / "data", **given}).options()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"enrichment": "netify"}, "MT_NETIFY_API_KEY is not set"),
        (
            {"enrichment": "offline,nobody"},
            "there is no provider 'nobody'; say `none`, or some of netify, offline",
        ),
        ({"enrichment": "offline,offline"}, "lists offline twice"),
        (
            {"offline_apps": "/nowhere/apps.conf"},
            "MT_ENRICHMENT lists offline, but /nowhere/apps.conf cannot be read",
        ),
        ({"offline_city_mmdb": __file__}, "test_providers.py is not an MMDB, or is truncated"),
        ({"offline_asn_mmdb": __file__}, "test_providers.py is not an MMDB, or is truncated"),
        ({"tracker_lists": "/nowhere/list"}, "/nowhere/list cannot be read"),
        (
            {"parties": __file__, "enrichment": "none"},
            "test_providers.py, line 1: the header is not as it must be",
        ),
        (
            {"devices": __file__, "enrichment": "none"},
            "test_providers.py, line 1: the header is missing",
        ),
    ],
)
def test_settings_that_can_never_work_are_refused_at_once(
    tmp_path: Path, given: dict[str, object], text: str
):
    with pytest.raises(SettingsError, match=re.escape(text)):
        providers.check(options_of(tmp_path, **given))
    assert list(tmp_path.iterdir()) == []


def test_the_chain_has_the_order_of_the_settings_and_free_ones_need_no_store(tmp_path: Path):
    with providers.opened(options_of(tmp_path), run="") as (chain, store):
        assert ([provider.name for provider in chain], store) == (["offline"], None)
    with providers.opened(
        options_of(tmp_path, netify_api_key="k", enrichment="offline,netify"), run=""
    ) as (chain, store):
        assert [provider.name for provider in chain] == ["offline", "netify"]
        assert store is not None


def test_networks_companies_and_parties_are_made_of_the_files_of_the_settings(tmp_path: Path):
    lab = {"autonomous_system_number": 64500, "autonomous_system_organization": "Lab"}
    city_file(tmp_path / "asn.mmdb", {"8.8.8.0/24": lab}, kind="ASN")
    (tmp_path / "one").write_text("||one-tracker.com^\n")
    (tmp_path / "two").write_text("0.0.0.0 two-tracker.com\n")
    (tmp_path / "parties.csv").write_text("experiment,first_party\nkitchen,tuya.com\n")
    options = options_of(
        tmp_path,
        offline_asn_mmdb=tmp_path / "asn.mmdb",
        tracker_lists=f"{tmp_path / 'one'}, {tmp_path / 'two'}",
        parties=tmp_path / "parties.csv",
    )
    providers.check(options)

    companies = providers.companies(options)
    with closing(providers.networks(options)) as networks:
        assert networks.look_up(pa.array(["8.8.8.8"]))["organisation"].to_pylist() == ["Lab"]
    assert [
        companies.of_name(name).role for name in ("one-tracker.com", "a.two-tracker.com", "x.com")
    ] == ["listed", "listed", None]
    assert providers.parties(options, companies).of("kitchen", None).companies == {"tuya"}
    assert not providers.parties(options_of(tmp_path), companies).of("kitchen", None)


def test_the_provider_of_the_docs_is_installed_and_answers(tmp_path: Path):
    guide = PROJECT / "docs" / "how-to" / "add-a-provider.md"
    files = dict(EXAMPLE.findall(guide.read_text()))
    assert sorted(files) == ["lab-list/lab_list.py", "lab-list/pyproject.toml"]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-build-isolation",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    subprocess.run(
        [*pip, "--target", str(tmp_path / "site"), str(tmp_path / "lab-list")], check=True
    )
    (tmp_path / "list.csv").write_text("endpoint,application\n8.8.8.8,our-resolver\n")

    def use(**environment: str) -> subprocess.CompletedProcess[str]:
        ours = {
            "PYTHONPATH": f"{tmp_path / 'site'}:{PROJECT}",
            "MT_DATA_DIR": str(tmp_path / "data"),
            "MT_ENRICHMENT": "lab,offline",
        }
        return subprocess.run(
            [sys.executable, "-c", USE, str(tmp_path)],
            capture_output=True,
            text=True,
            env={**os.environ, **ours, **environment},
        )

    result = use(LAB_LIST=str(tmp_path / "list.csv"))
    assert result.stdout.strip() == (
        "[('8.8.8.8', 'lab,offline', 'our-resolver', 'United States'), "
        "('www.netflix.com', 'offline', 'netflix', None)]"
    ), result.stderr
    assert (
        "SettingsError: MT_ENRICHMENT lists lab, but lab_list:make cannot make its provider "
        "(KeyError: 'LAB_LIST')" in use().stderr
    )
