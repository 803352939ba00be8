"""The provider against the fake API: statuses, tries, waits, where the key goes."""

import gzip
import logging
import time
import traceback
from dataclasses import replace

import pytest

from mt_pipeline.enrichment.models import Endpoint, Facts
from mt_pipeline.enrichment.netify.client import RetryPolicy
from mt_pipeline.enrichment.netify.statuses import LARGEST_BODY
from mt_pipeline.enrichment.provider import EndpointFailed, EnrichmentError, ProviderStopped
from mt_pipeline_tests.enrichment.parts import GOOGLE, KEY, NETFLIX, QUICK
from mt_pipeline_tests.fake_netify import FakeNetify, address_body


def test_a_found_address(fake_netify, netify):
    answer = netify(fake_netify).ask(GOOGLE)
    assert (answer.endpoint, answer.provider, answer.found) == (GOOGLE, "netify", True)
    place = ("Europe", "Germany", "Berlin", 13.405, 52.52)
    assert answer.facts == Facts("example-app", "business", None, *place, "host.example")
    assert fake_netify.requests()[0].target == "/api/v2/ips/8.8.8.8"


def test_a_found_name(fake_netify, netify):
    assert netify(fake_netify).ask(NETFLIX).facts == Facts("example-app", "business", "technology")
    assert fake_netify.requests()[0].target == "/api/v2/hostnames/www.netflix.com"


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize(
    "body",
    [None, "<html>gone</html>", {"status_code": f"{404}.000", "status_message": "Not found."}],
)
def test_not_found_is_an_answer_after_one_request(fake_netify, netify, status, body):
    fake_netify.say(status=status, body=body)
    answer = netify(fake_netify).ask(NETFLIX)
    assert (answer.found, answer.facts) == (False, Facts())
    assert fake_netify.asked() == [NETFLIX.value]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_after_one_request_and_names_the_setting(fake_netify, netify, status):
    fake_netify.say(
        status=status,
        body={"status_code": f"{status}.000", "status_message": "Subscription has expired."},
    )
    with pytest.raises(ProviderStopped, match=rf"HTTP {status}.*MT_NETIFY_API_KEY"):
        netify(fake_netify).ask(GOOGLE)
    assert len(fake_netify.asked()) == 1


@pytest.mark.parametrize("how", ["close", "hang", "drip", "drip-head", "continue", "endless"])
def test_a_connection_that_breaks_or_never_ends_costs_this_endpoint_alone(fake_netify, netify, how):
    fake_netify.say(how=how, times=3)
    began = time.monotonic()
    with pytest.raises(EndpointFailed, match=r"8\.8\.8\.8"):
        netify(fake_netify, retry=replace(QUICK, read=1, answer=2)).ask(GOOGLE)
    assert time.monotonic() - began < 20
    assert len(fake_netify.asked()) == 3


@pytest.mark.parametrize("how", ["close", "answer"])
def test_a_fault_that_passes_is_tried_away(fake_netify, netify, how):
    fake_netify.say(how=how, status=500, times=2)
    assert netify(fake_netify).ask(GOOGLE).found
    assert len(fake_netify.asked()) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_costs_this_endpoint_after_all_tries(fake_netify, netify, status):
    fake_netify.say(status=status)
    with pytest.raises(EndpointFailed, match=f"HTTP {status}"):
        netify(fake_netify).ask(GOOGLE)
    assert len(fake_netify.asked()) == 3


@pytest.mark.parametrize(
    "body", ["", "<html>hello</html>", '{"data": {', "[]", "{}", '{"data": []}', b"\xff\xfe"]
)
def test_a_200_with_nonsense_costs_this_endpoint_after_all_tries(fake_netify, netify, body):
    fake_netify.say(body=body)
    with pytest.raises(EndpointFailed, match="the "):
        netify(fake_netify).ask(GOOGLE)
    assert len(fake_netify.asked()) == 3


@pytest.mark.parametrize("status", [204, 405, 409, 418])
def test_a_status_that_is_not_expected_is_not_tried_again(fake_netify, netify, status):
    fake_netify.say(status=status)
    with pytest.raises(EndpointFailed, match=f"HTTP {status}"):
        netify(fake_netify).ask(GOOGLE)
    assert len(fake_netify.asked()) == 1


def test_a_body_of_20_megabytes_is_not_read(fake_netify, netify):
    fake_netify.say(body=b" " * 20_000_000)
    with pytest.raises(EndpointFailed, match="4,194,304 bytes"):
        netify(fake_netify).ask(GOOGLE)


def test_a_small_body_that_unpacks_to_a_huge_one_is_not_read(fake_netify, netify):
    fake_netify.say(
        body=gzip.compress(b" " * (LARGEST_BODY * 10)), headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(EndpointFailed, match="4,194,304 bytes"):
        netify(fake_netify).ask(GOOGLE)


def test_gzip_is_understood_and_garbage_in_its_place_is_not(fake_netify, netify):
    fake_netify.say(body="no gzip", headers={"Content-Encoding": "gzip"})
    fake_netify.say(
        body=gzip.compress(b'{"data": {"application": {"tag": "packed"}}}'),
        headers={"Content-Encoding": "gzip"},
        times=1,
    )
    provider = netify(fake_netify)
    assert provider.ask(NETFLIX).facts == Facts("packed")
    with pytest.raises(EndpointFailed):
        provider.ask(NETFLIX)


def test_a_server_that_is_not_there_stops(netify):
    with FakeNetify() as stopped:
        pass
    with pytest.raises(
        ProviderStopped, match=r"127\.0\.0\.1 cannot be reached .*refused.*MT_NETIFY_URL"
    ):
        netify(stopped).ask(GOOGLE)


def test_a_server_that_does_not_speak_tls_stops(fake_netify, netify):
    with pytest.raises(ProviderStopped, match=r"SSL.*MT_NETIFY_URL"):
        netify(fake_netify, url=fake_netify.url.replace("http:", "https:")).ask(GOOGLE)


def test_too_many_requests_waits_as_told(fake_netify, netify):
    fake_netify.say(status=429, headers={"Retry-After": "2"}, times=1)
    assert netify(fake_netify).ask(GOOGLE).found
    first, second = fake_netify.requests()
    assert 1.9 <= second.began - first.began < 4


def test_too_many_requests_without_a_word_is_tried_again_and_then_stops(fake_netify, netify):
    fake_netify.say(status=429)
    with pytest.raises(ProviderStopped, match=r"HTTP 429.*MT_NETIFY_RATE"):
        netify(fake_netify).ask(GOOGLE)
    assert len(fake_netify.asked()) == 3


@pytest.mark.parametrize(
    "retry_after", ["6", "3600", "Fri, 31 Dec 2999 23:59:59 GMT", "9" * 30, "9" * 400]
)
def test_a_wait_that_is_too_long_stops_at_once_and_asks_no_sooner(fake_netify, netify, retry_after):
    fake_netify.say(status=429, headers={"Retry-After": retry_after})
    began = time.monotonic()
    with pytest.raises(ProviderStopped, match=r"asks for a wait of \d+ s"):
        netify(fake_netify).ask(GOOGLE)
    assert time.monotonic() - began < 2
    assert len(fake_netify.asked()) == 1


@pytest.mark.parametrize("retry_after", ["soon", "", "-5", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_wait_of_nonsense_does_no_harm(fake_netify, netify, retry_after):
    fake_netify.say(status=429, headers={"Retry-After": retry_after}, times=2)
    assert netify(fake_netify).ask(GOOGLE).found


def test_a_redirect_is_not_followed(fake_netify, netify):
    with FakeNetify() as other:
        for status in (301, 302, 307, 308):
            fake_netify.say(
                status=status, headers={"Location": f"{other.url}/ips/8.8.8.8"}, times=1
            )
            with pytest.raises(
                EndpointFailed, match=rf"another address \(HTTP {status}\); check MT_NETIFY_URL"
            ):
                netify(fake_netify).ask(GOOGLE)
        assert len(fake_netify.asked()) == 4
        assert other.asked() == []


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a/../../secret?x=1#y", "a%2F..%2F..%2Fsecret%3Fx%3D1%23y"),
        ("100%25.example", "100%2525.example"),
        ("_sip._tcp.example", "_sip._tcp.example"),
        ('a b,"\t\n', "a%20b%2C%22%09%0A"),
        ("bücher.example", "b%C3%BCcher.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("x" * 300, "x" * 300),
    ],
)
def test_odd_names_are_one_segment_of_the_path(fake_netify, netify, name, target):
    assert netify(fake_netify).ask(Endpoint("name", name)).found
    assert [seen.target for seen in fake_netify.requests()] == [f"/api/v2/hostnames/{target}"]


def test_an_ipv6_address_is_asked(fake_netify, netify):
    assert netify(fake_netify).ask(Endpoint("address", "2606:4700:4700::1111")).found
    assert fake_netify.asked() == ["2606:4700:4700::1111"]


@pytest.mark.parametrize("name", [".", "..", ""])
def test_a_name_that_would_be_another_path_is_not_asked(fake_netify, netify, name):
    with pytest.raises(EndpointFailed, match="cannot be asked"):
        netify(fake_netify).ask(Endpoint("name", name))
    assert fake_netify.asked() == []


def test_the_key_goes_into_its_header_and_nowhere_else(
    fake_netify, netify, caplog, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    caplog.set_level(logging.DEBUG)
    provider = netify(fake_netify, retry=RetryPolicy(tries=2, pause=0.01, read=0.3))
    texts = []
    for status in (200, 204, 302, 401, 403, 404, 418, 429, 500):
        fake_netify.say(
            status=status, headers={"Location": "/elsewhere"} if status == 302 else {}, times=2
        )
        try:
            texts.append(repr(provider.ask(GOOGLE)))
        except EnrichmentError:
            texts.append(traceback.format_exc())
        fake_netify.say(times=10)
    for how in ("close", "hang"):
        fake_netify.say(how=how, times=2)
        with pytest.raises(EndpointFailed) as failure:
            provider.ask(NETFLIX)
        texts.append("".join(traceback.format_exception(failure.value, chain=True)))
    seen = fake_netify.requests()
    assert len(seen) > 10
    for request in seen:
        assert request.header("x-api-key") == [KEY]
        assert request.header("Authorization") == []
        assert KEY not in request.target
        assert [name.lower() for name, value in request.headers if KEY in value] == ["x-api-key"]
    assert len(caplog.records) > 10
    assert KEY not in caplog.text + "".join(texts) + repr(provider) + str(vars(provider))


@pytest.mark.parametrize("key", ["", "  ", "two\nlines", "smart“quotes”", "tab\tin it"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_quoted(fake_netify, netify, key):
    with pytest.raises(EnrichmentError, match="MT_NETIFY_API_KEY") as refusal:
        netify(fake_netify, key=key)
    assert "lines" not in str(refusal.value)
    assert "quotes" not in str(refusal.value)


def test_a_key_with_a_newline_at_its_end_works(fake_netify, netify):
    assert netify(fake_netify, key=KEY + "\n").ask(GOOGLE).found
    assert fake_netify.requests()[0].header("x-api-key") == [KEY]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "feeds.netify.ai/api/v2",
            "ftp://feeds.netify.ai",
            "http://",
            "http://[",
            "http://[::1/api",
        ),
        *(
            f"https://feeds.netify.ai/api/v2?x-api-key={KEY}",
            f"https://{KEY}@feeds.netify.ai/api/v2",
            f"https://feeds.netify.ai/api/v2#{KEY}",
        ),
    ],
)
def test_an_address_of_no_server_is_refused_and_not_quoted(fake_netify, netify, url):
    with pytest.raises(EnrichmentError, match=r"^MT_NETIFY_URL is not the address") as refusal:
        netify(fake_netify, url=url)
    assert KEY not in str(refusal.value)


def test_a_proxy_of_the_environment_is_used(fake_netify, netify, monkeypatch):
    monkeypatch.setenv("http_proxy", fake_netify.root)
    fake_netify.say(body=address_body("8.8.8.8", rdns=None))
    assert netify(fake_netify, url="http://netify.invalid/api/v2").ask(GOOGLE).found
    assert fake_netify.requests()[0].target == "http://netify.invalid/api/v2/ips/8.8.8.8"
