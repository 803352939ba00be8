"""Facts without a network: city files in all layouts, allocations, applications, unusable files."""

from pathlib import Path

import pytest

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.offline.countries import COUNTRIES
from mt_pipeline.enrichment.offline.provider import Offline
from mt_pipeline.enrichment.provider import ProviderUnusable
from mt_pipeline_tests.enrichment.city_files import city_file, nested

OPEN = """# Copyright 2024, of the open edition (Apache-2.0)
app:119:netify.facebook
app:133:netify.netflix
app:126:netify.google
app:124:netify.youtube
dom:133:netflix.com
dom:126:googleapis.com
dom:124:youtubei.googleapis.com
net:119:157.240.0.0/16
net:133:157.240.7.0/24
net:119:2a03:2880::/29
nsd:1:c29tZXRoaW5n
"""


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    path = tmp_path / "netify-apps.conf"
    path.write_text(OPEN)
    return path


def place(path: Path | None, address: str) -> Facts | None:
    [facts] = Offline(city_mmdb=path).look_up("address", [address])
    return facts


def test_out_of_the_box_the_country_of_allocation_is_known():
    offline = Offline()
    assert offline.look_up(
        "address", ["8.8.8.8", "2a00:1450:4001::1", "192.0.2.1", "::ffff:8.8.8.8"]
    ) == [
        Facts(geo_continent="North America", geo_country="United States"),
        Facts(geo_continent="Europe", geo_country="Ireland"),
        None,
        Facts(geo_continent="North America", geo_country="United States"),
    ]


def test_countries_have_a_code_a_name_and_a_continent():
    assert len(COUNTRIES) == 250
    assert COUNTRIES["KR"] == ("Asia", "South Korea")
    assert {continent for continent, _ in COUNTRIES.values()} == {
        *("Africa", "Antarctica", "Asia", "Europe", "North America", "Oceania", "South America")
    }
    assert len({name for _, name in COUNTRIES.values()}) == len(COUNTRIES)
    assert [code for code in COUNTRIES if len(code) != 2 or not code.isupper()] == []


def test_a_city_file_is_read_in_english_and_countries_are_spelled_as_without_one(tmp_path: Path):
    path = city_file(
        tmp_path / "city.mmdb",
        {
            "85.214.0.0/16": nested("DE", "Federal Republic", "Berlin", (13.4, 52.5)),
            "2.16.0.0/16": nested("IT", "Italy"),
            "2a01::/16": nested("ZZ", "Nowhere", "Nothing", (999, 52.5)),
        },
    )
    assert place(path, "85.214.1.1") == Facts(
        geo_continent="Europe", geo_country="Germany", geo_city="Berlin", geo_lon=13.4, geo_lat=52.5
    )
    assert place(path, "2.16.0.1") == Facts(geo_continent="Europe", geo_country="Italy")
    assert place(path, "2a01::1") == Facts(
        geo_continent="A continent", geo_country="Nowhere", geo_city="Nothing"
    )
    assert place(path, "9.9.9.9") is None


def test_the_flat_layout_is_read_too_and_a_file_for_ipv4_knows_no_ipv6(tmp_path: Path):
    flat = {
        "country_code": "AU",
        "state1": "New South Wales",
        "city": "Sydney",
        "latitude": "-33.869",
        "longitude": 151.209,
    }
    odd = {"country_code": "US", "city": "", "latitude": [], "longitude": {}}
    path = city_file(
        tmp_path / "flat.mmdb",
        {"1.1.1.0/24": flat, "1.2.0.0/16": odd},
        kind="dbip-city-ipv4",
        version=4,
    )
    assert place(path, "1.1.1.1") == Facts(
        geo_continent="Oceania",
        geo_country="Australia",
        geo_city="Sydney",
        geo_lon=151.209,
        geo_lat=-33.869,
    )
    assert place(path, "::ffff:1.1.1.1") == place(path, "1.1.1.1")
    assert place(path, "1.2.3.4") in (
        None,
        Facts(geo_continent="North America", geo_country="United States"),
    )
    assert place(path, "2606:4700::1") is None


@pytest.mark.parametrize("damage", ["text", "cut", "asn", "missing", "folder", "empty"])
def test_a_city_file_that_cannot_be_used_is_refused_with_its_name_the_reason_and_the_cure(
    tmp_path: Path, damage: str
):
    path = tmp_path / "city.mmdb"
    city_file(
        path, {f"{n}.0.0.0/8": nested("DE", "Germany", f"City {n}", (n, n)) for n in range(1, 100)}
    )
    if damage == "text":
        path.write_text("country,city\n" * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "asn":
        city_file(path, {"8.8.8.0/24": {"autonomous_system_number": 15169}}, kind="GeoLite2-ASN")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(ProviderUnusable, match="MT_OFFLINE_CITY_MMDB") as raised:
        Offline(city_mmdb=path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_city_file_cut_within_its_data_is_noticed(tmp_path: Path):
    """The description of a file is at its end, so one with a hole in the middle opens well."""
    path = city_file(
        tmp_path / "city.mmdb",
        {f"{n}.0.0.0/8": nested("DE", "Germany", f"City {n}", (n, n)) for n in range(1, 100)},
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:3000] + whole[whole.rindex(b"\xab\xcd\xefMaxMind.com") :])
    with pytest.raises(ProviderUnusable, match="truncated or damaged"):
        Offline(city_mmdb=path)


def test_the_most_specific_application_wins_for_names_and_addresses(apps: Path):
    offline = Offline(apps=apps)
    names = [
        "youtubei.googleapis.com",
        "www.googleapis.com",
        "api-global.netflix.com",
        "notnetflix.com",
        "com",
        "x" * 300,
        "münchen.netflix.com",
    ]
    tags = [facts and facts.app_tag for facts in offline.look_up("name", names)]
    assert tags == ["youtube", "google", "netflix", None, None, None, "netflix"]
    blocks = [
        facts and facts.app_tag
        for facts in offline.look_up(
            "address", ["157.240.1.1", "157.240.7.9", "2a03:2880::1", "8.8.8.8"]
        )
    ]
    assert blocks == ["facebook", "netflix", "facebook", None]
    assert offline.look_up("address", ["157.240.1.1"]) == [
        Facts(
            app_tag="facebook",
            app_category_tag="social-media",
            geo_continent="North America",
            geo_country="United States",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "# PROPRIETARY: valid Netify evaluation or paid subscription\n" + OPEN,
            "is the proprietary edition",
        ),
        ("# requires a valid paid subscription\n" + OPEN, "is the proprietary edition"),
        ("hello\n", "names no application"),
        (OPEN + "net:119:300.1.2.3/8\n", "line 13 has '300.1.2.3/8'"),
        (OPEN + "dom:119\n", "line 13 is not of the form"),
        (OPEN + "cat:119: \n", "line 13 is not of the form cat:ID:VALUE"),
        (b"\xff\xfe\x00", "is not a text file"),
        (None, "cannot be read"),
    ],
    ids=[
        "proprietary",
        "subscription",
        "other text",
        "no block",
        "no value",
        "no category",
        "bytes",
        "missing",
    ],
)
def test_an_apps_file_that_cannot_be_used_is_refused_with_its_name_the_reason_and_the_cure(
    apps: Path, text: str | bytes | None, reason: str
):
    apps.unlink() if text is None else apps.write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    with pytest.raises(ProviderUnusable, match=reason) as raised:
        Offline(apps=apps)
    assert str(raised.value).startswith(str(apps))
    assert "MT_OFFLINE_APPS" in str(raised.value)
