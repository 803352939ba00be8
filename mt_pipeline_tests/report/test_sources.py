"""Which sources of data a page names, and when."""

import pytest

from mt_pipeline.report.sources import Files, sources

REGISTRIES = ("AFRINIC", "APNIC", "ARIN", "LACNIC", "RIPE NCC")


def sentences(
    *providers: str,
    files: Files | None = None,
    has_city: bool = False,
    has_domains: bool = False,
    has_owners: bool = False,
) -> list[str]:
    listed = sources(
        set(providers),
        files or Files(),
        has_city=has_city,
        has_domains=has_domains,
        has_owners=has_owners,
    )
    return [f"{source.before}[{source.link}]({source.url}){source.after}" for source in listed]


def test_nobody_answered_and_nobody_is_named():
    assert sentences() == []


def test_without_a_city_file_countries_are_of_allocation_by_the_registries():
    [source] = sentences("offline")

    assert "countries of allocation" in source
    assert all(registry in source for registry in REGISTRIES)


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        ("DBIP-City-Lite", "[IP Geolocation by DB-IP](https://db-ip.com)"),
        ("dbip-city", "[IP Geolocation by DB-IP](https://db-ip.com)"),
        (
            "GeoLite2-City",
            "GeoLite2 data created by MaxMind, available from [https://www.maxmind.com](https://www.maxmind.com)",
        ),
        (
            "geolite2-city",
            "GeoLite2 data created by MaxMind, available from [https://www.maxmind.com](https://www.maxmind.com)",
        ),
        ("My own", "a file of the type My own"),
        (None, "if it was DB-IP's or MaxMind's, name them"),
    ],
)
def test_a_city_file_is_named_as_its_licence_asks(kind: str | None, link: str):
    [source] = sentences("offline", files=Files(city=kind), has_city=True)

    assert link in source


def test_captures_that_were_loaded_before_the_city_file_have_countries_of_allocation():
    city, allocation = sentences("offline", files=Files(city="DBIP-City-Lite"))

    assert "DB-IP" in city
    assert allocation.startswith(
        "Countries of captures that were loaded without this file are countries of allocation"
    )


def test_files_that_were_not_read_are_not_named():
    assert not any(
        "netify-apps" in source or "DB-IP" in source
        for source in sentences("netify", files=Files(city="DBIP-City-Lite", apps=True))
    )


def test_applications_netify_other_providers_and_domains_are_named():
    sources_ = sentences("offline", "netify", "lab", files=Files(apps=True), has_domains=True)

    assert [
        word in source
        for word, source in zip(
            ("APNIC", "eGloo Inc.", "Netify Data Feeds", "Answers of lab", "publicsuffix.org"),
            sources_,
            strict=True,
        )
    ]


def test_organisations_are_named_with_their_sources_and_licence():
    owners, licence = sentences(has_owners=True)
    assert "[IP Geolocation by DB-IP](https://db-ip.com)" in owners
    assert "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)" in licence
    *_, of_user = sentences(has_owners=True, files=Files(networks="GeoLite2-ASN"))
    assert "GeoLite2-ASN" in of_user
    [ndpi] = sentences("ndpi")
    assert "LGPL-3.0" in ndpi
