"""Facts in bodies that were written by hand after the documentation, not sent by Netify."""

import json

import pytest

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.netify.responses import BrokenBody, facts_of
from mt_pipeline_tests.fake_netify import address_body, name_body, success


def application(tag: object, category: object = "business") -> dict[str, object]:
    return {"id": 1, "tag": tag, "label": "x", "category": {"id": 5, "tag": category, "label": "y"}}


def read(kind: str, body: object) -> Facts | None:
    return facts_of(kind, json.dumps(body).encode())


def of_address(**data: object) -> Facts | None:
    return read("address", success({"address": "8.8.8.8", "version": "ipv4", **data}))


def test_a_full_address():
    place = ("Europe", "Germany", "Berlin", 13.405, 52.52)
    assert read("address", address_body("8.8.8.8")) == Facts(
        "example-app", "business", None, *place, "host.example"
    )


def test_a_full_name():
    assert read("name", name_body("a.example")) == Facts("example-app", "business", "technology")


def test_an_address_with_the_required_fields_alone_is_found_with_nothing_known():
    assert of_address() == Facts()


@pytest.mark.parametrize("sub", ["rdns", "tls_certificate", "application_list", "geolocation"])
@pytest.mark.parametrize("value", [None, [], {}, "text", 5, True, [None], [[]]])
def test_any_part_of_an_address_may_be_nonsense(sub, value):
    assert of_address(**{sub: value}) == Facts()


def test_every_part_may_be_null_at_once():
    parts = (
        "rdns tls_certificate platform network pop asn asn_route geolocation "
        "application_list hostnames shared_score app_cidr"
    ).split()
    assert of_address(**dict.fromkeys(parts)) == Facts()
    assert (
        read(
            "name",
            success(dict.fromkeys("hostname domain application platform network asn ips".split())),
        )
        == Facts()
    )


@pytest.mark.parametrize("value", [None, [], {}, "text", 5])
def test_any_part_of_a_place_may_be_nonsense(value):
    assert (
        of_address(
            geolocation=dict.fromkeys(["continent", "country", "city", "coordinates"], value)
        )
        == Facts()
    )
    assert (
        of_address(geolocation={"country": {"label": value if value != "text" else None}})
        == Facts()
    )


@pytest.mark.parametrize(
    ("data", "tag"),
    [
        ({"rdns": "a", "tls_certificate": "b", "application_list": ["c"]}, "a"),
        ({"rdns": None, "tls_certificate": "b", "application_list": ["c"]}, "b"),
        ({"rdns": "", "tls_certificate": "b", "application_list": ["c"]}, "b"),
        ({"application_list": ["c"]}, "c"),
        ({"application_list": ["c", "d"]}, None),
        ({"application_list": []}, None),
        ({"rdns": 5, "application_list": ["c"]}, "c"),
    ],
)
def test_the_application_of_an_address_is_the_first_one_said(data, tag):
    def build(name: str, value: object) -> object:
        return (
            [application(one) for one in value]
            if name == "application_list"
            else {"application": application(value)}
        )

    facts = of_address(**{name: build(name, value) for name, value in data.items()})
    assert facts.app_tag == tag


def test_the_category_is_chosen_on_its_own():
    facts = of_address(
        rdns={"application": application("a", None)},
        tls_certificate={"application": application(None, "games")},
    )
    assert (facts.app_tag, facts.app_category_tag) == ("a", "games")


def test_a_name_without_domain_and_application_is_found_with_nothing_known():
    assert read("name", name_body("a.example", domain=None, application=None)) == Facts()
    assert read("name", name_body("a.example", domain=None)) == Facts("example-app", "business")


def test_the_old_prefix_of_tags_goes():
    assert of_address(
        rdns={"application": application("netify.twitter", "netify.social-media")}
    ) == Facts("twitter", "social-media")
    assert of_address(rdns={"application": application("netify.", None)}) == Facts()


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        *[("13.405", 13.405), ("-0.0", 0.0), (13.405, 13.405), (13, 13.0)],
        *[
            (junk, None)
            for junk in ("", "east", "nan", "inf", "180.1", True, 10**400, None, [], {})
        ],
    ],
)
def test_degrees_are_text_or_numbers_or_unknown(text, degrees):
    facts = of_address(geolocation={"coordinates": {"longitude": text, "latitude": "1"}})
    assert (facts.geo_lon, facts.geo_lat) == (degrees, 1.0)


def test_a_status_code_in_the_body_of_a_200_means_nothing():
    assert read("name", {**name_body("a.example"), "status_code": "404.000"}) == Facts(
        "example-app", "business", "technology"
    )


def test_no_data_is_no_knowledge():
    assert read("name", success(None)) is None


def test_text_that_no_file_can_hold_is_made_harmless():
    body = (
        b'{"data": {"geolocation": {"country": {"label": "a\\ud800b"}, "city": {"label": "'
        + b"x" * 300
        + b'"}}}}'
    )
    assert facts_of("address", body) == Facts(geo_country="a?b")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>sorry</html>",
        b'{"data": {',
        b"\xff\xfe\xfa",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b'{"data": []}',
        b'{"data": "x"}',
        b"[" * 100_000,
    ],
)
def test_what_the_api_never_sends_is_a_broken_body(body):
    with pytest.raises(BrokenBody):
        facts_of("address", body)
