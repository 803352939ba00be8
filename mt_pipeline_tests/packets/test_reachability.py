"""Which addresses are public, whatever the release of Python says of them."""

import pytest

from mt_pipeline.packets.reachability import is_public
from mt_pipeline_tests.building.traffic import SERVER, SERVER6

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    SERVER,
    "223.255.255.254",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.1",
    "192.167.255.255",
    SERVER6,
    "2a00:1450::1",
    "192.0.0.9",
    "192.0.0.10",
    "192.31.196.1",
    "192.88.99.1",
    "2001:1::1",
    "2001:3::1",
    "2001:4:112::1",
    "2001:20::1",
    "2001:2f:ffff::1",
    "2001:30::1",
    "2001:200::1",
    "2620:4f:8000::1",
    "2002:808:808::1",
    "64:ff9b::8.8.8.8",
]
NOT_PUBLIC = {
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"],
    "loopback": ["127.0.0.1", "127.9.9.9", "::1"],
    "link-local": ["169.254.1.1", "fe80::1"],
    "shared by a provider's customers": ["100.64.0.1", "100.127.255.255"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255"],
    "multicast": ["224.0.0.1", "224.0.1.1", "232.1.2.3", "239.255.255.250", "ff02::fb", "ff0e::1"],
    "IPv4 in the form of IPv6": ["::ffff:8.8.8.8", "::ffff:808:808", "::ffff:10.0.0.1"],
    "site-local": ["fec0::1", "feff:ffff::1"],
    "documentation of 2024": ["3fff::1", "3fff:fff:ffff::1"],
    "segment routing": ["5f00::1"],
    "local translation": ["64:ff9b:1::1", "64:ff9b:1:ffff::8.8.8.8"],
    "not allocated": ["200::1", "3ff::1", "4000::1", "e000::1", "::8.8.8.8"],
    "6to4 of a local address": ["2002:c0a8:101::1", "2002:a00:1::1", "2002:7f00:1::1"],
    "NAT64 of a local address": ["64:ff9b::192.168.1.1", "64:ff9b::10.0.0.1"],
    "protocol assignments": ["192.0.0.1", "192.0.0.8", "192.0.0.170", "192.88.99.2"],
    "others of IPv6": ["2001::1", "2001:1::4", "2001:2::1", "2001:4:111::1", "2001:10::1"],
    "discard": ["100::1", "100:0:0:1::1"],
    "none at all": [
        "0.0.0.0",  # noqa: S104
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "",
        "8.8.8",
        "8.8.8.8 ",
        "example.com",
        "08.8.8.8",
    ],  # noqa: RUF100, S104
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_globally_reachable_address_is_public(address: str):
    assert is_public(address)


@pytest.mark.parametrize("why", NOT_PUBLIC)
def test_other_addresses_are_not_public(why: str):
    """Regression: Python's table of the day said that most of these are global."""
    assert [address for address in NOT_PUBLIC[why] if is_public(address)] == []
