"""Our own list of well-known services, and how the user's file goes together with it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.offline.apps import WELL_KNOWN
from mt_pipeline.enrichment.offline.provider import Offline
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

LINES = [
    line.split(":", 2)
    for line in WELL_KNOWN.read_text().splitlines()
    if line and not line.startswith("#")
]
DOMAINS = {domain: identity for kind, identity, domain in LINES if kind == "dom"}


def of(name: str, apps: Path | None = None) -> tuple[str | None, str | None]:
    [facts] = Offline(apps=apps).look_up("name", [name])
    return (facts.app_tag, facts.app_category_tag) if facts else (None, None)


def test_every_application_of_the_list_has_a_tag_a_category_of_netifys_and_a_domain():
    assert {kind for kind, *_ in LINES} == {"app", "cat", "dom"}
    tags = [tag for kind, identity, tag in LINES if kind == "app" and tag == identity]
    assert 150 <= len(tags) == len(set(tags)) == sum(kind == "app" for kind, *_ in LINES)
    assert [tag for tag in tags if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", tag)] == []
    assert Counter(identity for kind, identity, _ in LINES if kind == "cat") == Counter(tags)
    assert {category for kind, _, category in LINES if kind == "cat"} <= CATEGORIES
    assert set(DOMAINS.values()) == set(tags)


def test_no_domain_of_the_list_is_there_twice_or_said_by_a_shorter_one_or_a_suffix_of_everyone():
    assert len(DOMAINS) == sum(kind == "dom" for kind, *_ in LINES)
    assert [
        domain for domain in DOMAINS if domain != domain.lower() or not is_askable(domain)
    ] == []
    assert [
        domain
        for domain in DOMAINS
        if not f".{domain}".endswith(f".{registrable_domain(f'x.{domain}')}")
    ] == []
    of_shorter = {domain: of(domain.partition(".")[2])[0] for domain in DOMAINS}
    assert [domain for domain, tag in of_shorter.items() if tag == DOMAINS[domain]] == []


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("api-global.netflix.com", ("netflix", "streaming-media")),
        ("fw.ring.com", ("ring", "device-iot")),
        ("youtubei.googleapis.com", ("youtube", "streaming-media")),
        ("www.googleapis.com", ("google", "portal")),
        ("time.apple.com", ("ntp", "technology")),
        ("notnetflix.com", (None, None)),
        ("com", (None, None)),
    ],
)
def test_well_known_names_have_an_application_out_of_the_box(
    name: str, known: tuple[str | None, str | None]
):
    assert of(name) == known


def test_a_file_of_the_user_wins_over_the_list_which_fills_what_it_does_not_say(tmp_path: Path):
    file = tmp_path / "apps.conf"
    file.write_text(
        "app:1:netify.netflix\ndom:1:netflix.com\n"
        "app:2:lab\ncat:2:education\ndom:2:googleapis.com\n"
        "app:3:zoom\ncat:3:business\ndom:3:meet.example.com\n"
        "app:4:own\ndom:4:own.example.com\ncat:5:nobody\n"
    )
    assert of("www.netflix.com", file) == ("netflix", "streaming-media")
    assert of("youtubei.googleapis.com", file) == ("lab", "education")
    assert of("meet.example.com", file) == ("zoom", "business")
    assert of("own.example.com", file) == ("own", None)
    assert of("www.spotify.com", file) == ("spotify", "streaming-media")


def test_addresses_have_no_application_out_of_the_box():
    [facts] = Offline().look_up("address", ["157.240.1.1"])
    assert facts == Facts(geo_continent="North America", geo_country="United States")
