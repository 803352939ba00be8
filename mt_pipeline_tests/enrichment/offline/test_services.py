"""Our own list of services: every line is whole, fits the others, and has a source."""

import csv
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import tldextract

from mt_pipeline.enrichment.offline.services import SERVICES, services, suffixes
from mt_pipeline.enrichment.owners.companies import SUPPORT, TRACKERS
from mt_pipeline.enrichment.owners.networks import DATA
from mt_pipeline.packets.domains import registrable_domain
from mt_pipeline.packets.endpoints import is_askable

CATEGORIES = set(
    "adult advertiser entertainment business education financial file-sharing gambling games "
    "government mail malware messaging news portal "
    "recreation reference shopping social-media sports technology vpn-and-proxy streaming-media "
    "cybersecurity os-software-updates voip device-iot "
    "remote-desktop cdn hosting telco".split()
)
"""Netify's."""

BY_DOMAIN = {service.domain: service for service in services()}


@cache
def sources() -> set[str]:
    text = (SERVICES.parent / "SOURCES.md").read_text()
    return set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))


def test_every_line_has_a_domain_an_application_a_category_a_company_and_a_known_source():
    assert len(services()) > 1600
    assert len({service.app for service in services()}) > 700
    assert [s for s in services() if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", s.app)] == []
    assert [s for s in services() if not s.company.strip() or s.company != s.company.strip()] == []
    assert {service.category for service in services()} <= CATEGORIES
    assert {service.role for service in services()} <= TRACKERS | SUPPORT | {""}
    assert {service.source for service in services()} == sources()


def test_an_application_has_one_category():
    pairs = {(service.app, service.category) for service in services()}
    assert [app for app, times in Counter(app for app, _ in pairs).items() if times > 1] == []


def test_no_domain_is_there_twice_or_is_a_suffix_of_everyone():
    assert len(BY_DOMAIN) == len(services())
    assert [d for d in BY_DOMAIN if d != d.lower() or not is_askable(d)] == []
    assert [d for d in BY_DOMAIN if registrable_domain(f"x.{d}") == f"x.{d}"] == []


def test_no_line_says_only_what_a_shorter_domain_says_already():
    def says(domain: str) -> tuple[str, str, str]:
        return BY_DOMAIN[domain].app, BY_DOMAIN[domain].company, BY_DOMAIN[domain].role

    shorter = {
        domain: next((above for above in suffixes(domain)[1:] if above in BY_DOMAIN), None)
        for domain in BY_DOMAIN
    }
    assert [d for d, above in shorter.items() if above and says(above) == says(d)] == []


def test_the_list_is_sorted_so_that_a_change_is_one_line():
    rows = [(service.category, service.app, service.domain) for service in services()]
    assert rows == sorted(rows)


def test_one_company_has_one_spelling():
    with (DATA / "networks.csv").open() as lines:
        companies = {row["company"] for row in csv.DictReader(lines)}
    companies |= {service.company for service in services()}
    assert len({re.sub(r"\W", "", company).lower() for company in companies}) == len(companies)


@pytest.mark.parametrize("source", ["psl", "third-party-web"])
def test_what_is_said_to_be_in_a_list_that_we_have_is_there(source: str):
    domains = {service.domain for service in services() if service.source == source}
    if source == "psl":
        listed = Path(tldextract.__file__).with_name(".tld_set_snapshot").read_text().split()
    else:
        listed = (DATA / "third_parties.csv").read_text().replace(",", " ").split()
    assert domains - {above for domain in listed for above in suffixes(domain)} == set()
