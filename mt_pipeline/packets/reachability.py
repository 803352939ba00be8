"""Which addresses are globally reachable, by a table that does not depend on Python's release.

The table has what IANA's registries of special-purpose addresses say:
https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry, with their entries until May 2025. The
last one then was 100:0:0:1::/64 (RFC 9780). What the registries leave open (N/A) is not reachable,
but for 6to4 and its relays. Of IPv6, IANA has allocated 2000::/3 alone for unicast.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

_NOT_REACHABLE = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.2/32",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",
    "::/0",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
)
_REACHABLE = (
    "0.0.0.0/0",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "2000::/3",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:20::/28",
    "2001:30::/28",
)

# First bit of the IPv4 address within: one that is not reachable by itself is not by these either.
_SIX_TO_FOUR = (ipaddress.IPv6Network("2002::/16"), 16)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), 96)

_Table = list[tuple[int, dict[int, bool]]]


def _table(version: int) -> _Table:
    """Return, for each length of prefixes, the prefixes and whether they are reachable.

    The longest come first.
    """
    lengths: dict[int, dict[int, bool]] = {}
    for networks, is_reachable in ((_NOT_REACHABLE, False), (_REACHABLE, True)):
        for network in _parsed(networks, version):
            shift = network.max_prefixlen - network.prefixlen
            lengths.setdefault(shift, {})[int(network.network_address) >> shift] = is_reachable
    return sorted(lengths.items())


def _parsed(
    networks: Iterable[str], version: int
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    parsed = map(ipaddress.ip_network, networks)
    return [network for network in parsed if network.version == version]


_TABLES = {version: _table(version) for version in (4, 6)}


@lru_cache(maxsize=100_000)
def is_public(address: str) -> bool:
    """Return whether an address is a globally reachable unicast address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        for network, first_bit in (_SIX_TO_FOUR, _NAT64):
            if parsed in network:
                return _is_reachable(4, int(parsed) >> (96 - first_bit) & 0xFFFFFFFF)
    return _is_reachable(parsed.version, int(parsed))


def _is_reachable(version: int, number: int) -> bool:
    return next(
        prefixes[number >> shift]
        for shift, prefixes in _TABLES[version]
        if number >> shift in prefixes
    )
