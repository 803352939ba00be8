"""Companies and roles of names and networks, and the lists that they come from."""

import csv
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.enrichment.offline.services import services
from mt_pipeline.enrichment.owners.companies import SUPPORT, TRACKERS, Companies
from mt_pipeline.enrichment.owners.networks import DATA, Networks
from mt_pipeline.enrichment.owners.tracker_lists import TrackerLists

Known = tuple[str | None, str | None]


def of_names(*names: str | None, companies: Companies | None = None) -> list[Known]:
    found = (companies or Companies()).of_names(pa.array(names, pa.string()))
    return [(row["company"], row["role"]) for row in found.to_pylist()]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("api.tuyaeu.com", ("Tuya", None)),
        ("fw.ring.com", ("Amazon", None)),
        ("FW.Ring.com.", ("Amazon", None)),
        ("ad.doubleclick.net", ("Google", "advertising")),
        ("app.adjust.com", ("Adjust", "attribution")),
        ("sessions.bugsnag.com", ("SmartBear", "crash-reporting")),
        ("onesignal.com", ("OneSignal", "push-marketing")),
        ("mtalk.google.com", ("Google", "push-service")),
        ("d1.cloudfront.net", ("Amazon", "cdn")),
        ("x.s3.eu-west-1.amazonaws.com", ("Amazon", "hosting")),
        ("0.pool.ntp.org", ("NTP Pool", "time")),
        ("dns.google", ("Google", "dns")),
        ("static.criteo.net", ("Criteo", "advertising")),
        ("cdn.jsdelivr.net", ("jsDelivr", "cdn")),
        ("js.hubspot.com", ("Hubspot", "marketing")),
        ("www.hersteller.example", (None, None)),
        ("com", (None, None)),
        ("", (None, None)),
    ],
)
def test_a_name_has_the_company_and_the_role_of_its_longest_domain(name: str, known: Known):
    assert of_names(name) == [known]


@pytest.mark.parametrize(
    "name", ["www.apple.com", "www.microsoft.com", "www.linkedin.com", "app.snapchat.com"]
)
def test_our_list_says_of_the_sites_of_large_companies_that_they_are_no_trackers(name: str):
    """The list of third parties of web pages has them as advertising or analytics."""
    [(company, role)] = of_names(name)
    assert (company is not None, role) == (True, None)


def test_each_row_has_its_answer_and_a_missing_name_none():
    names = ["graph.facebook.com", None, "graph.facebook.com", "nobody.example"]
    assert of_names(*names) == [
        ("Meta", "analytics"),
        (None, None),
        ("Meta", "analytics"),
        (None, None),
    ]
    assert of_names() == []


def test_what_the_user_lists_is_a_tracker_and_keeps_what_we_know_of_it(tmp_path: Path):
    path = tmp_path / "list.txt"
    path.write_text("hersteller.example\nring.com\ndoubleclick.net\n")
    companies = Companies(TrackerLists([path]))
    assert of_names(
        "log.hersteller.example", "fw.ring.com", "ad.doubleclick.net", None, companies=companies
    ) == [(None, "listed"), ("Amazon", "listed"), ("Google", "advertising"), (None, None)]


@pytest.mark.parametrize(
    ("asn", "organisation", "known"),
    [
        (16509, "Amazon.com, Inc.", ("Amazon", "hosting")),
        (15169, "Google LLC", ("Google", None)),
        (396982, "Google LLC", ("Google", "hosting")),
        (16591, "Google Fiber Inc.", ("Google Fiber", None)),
        (32934, "Facebook, Inc.", ("Meta", None)),
        (13335, "Cloudflare, Inc.", ("Cloudflare", "cdn")),
        (267242, "AMAZONIA TELECOMUNICACOES LTDA", (None, None)),
        (3320, "Deutsche Telekom AG", (None, None)),
        (None, None, (None, None)),
    ],
)
def test_a_network_has_the_company_of_its_number_or_of_what_its_organisation_begins_with(
    asn: int | None, organisation: str | None, known: Known
):
    found = Companies().of_networks(
        pa.array([asn], pa.int64()), pa.array([organisation], pa.string())
    )
    assert [(row["company"], row["role"]) for row in found.to_pylist()] == [known]


def test_a_name_decides_alone_and_without_one_the_network_does():
    names = pa.array(["shop.example", None, "fw.ring.com", None])
    networks = Networks().look_up(pa.array(["52.94.236.248"] * 3 + ["10.0.0.1"]))
    found = Companies().of_ends(names, networks)
    assert [(row["company"], row["role"]) for row in found.to_pylist()] == [
        (None, None),
        ("Amazon", "hosting"),
        ("Amazon", None),
        (None, None),
    ]


def test_every_line_of_the_list_of_networks_names_a_network_that_there_is_and_has_a_source():
    with (DATA / "networks.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len({row["network"].lower() for row in rows}) == len(rows)
    assert [row for row in rows if not row["company"] or not row["source"]] == []
    assert {row["role"] for row in rows} <= SUPPORT | {""}
    assert {row["app"] for row in rows} <= {service.app for service in services()} | {""}


def test_the_list_of_third_parties_has_each_domain_once_and_says_whose_it_is():
    with (DATA / "third_parties.csv").open() as lines:
        assert "third-party-web" in (first := next(lines))
        assert "MIT License" in first
        rows = list(csv.DictReader(lines))
    domains = [row["domain"] for row in rows]
    assert len(domains) > 2500
    assert domains == sorted(set(domains))
    assert {row["category"] for row in rows} >= {"advertising", "analytics", "marketing", "cdn"}
    assert not TRACKERS & SUPPORT
