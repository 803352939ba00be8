"""The layer of a frame that a row describes, chosen once per distinct `frame.protocols`.

The address pair, protocol, ports and stream of a row belong to ONE layer: the innermost IP layer,
inside any tunnel, but never in a packet that is quoted: by an ICMP error, a sample of sFlow, a
message of OpenFlow. tshark lists the values of a field outermost first, so the position of a layer
among those of its kind identifies it.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

# With IPv6 extension headers, `ipv6.nxt` names the first of them; only the dissector names the
# protocol.
_AFTER_EXTENSIONS = {
    "tcp": "TCP", "udp": "UDP", "udplite": "UDPLite", "icmpv6": "IPv6-ICMP", "sctp": "SCTP",
    "dccp": "DCCP", "esp": "ESP", "ah": "AH", "gre": "GRE", "ip": "IPv4", "ipv6": "IPv6",
    "ospf": "OSPFIGP", "pim": "PIM", "vrrp": "VRRP", "l2tp": "L2TP", "etherip": "ETHERIP",
}  # fmt: skip
_EXTENSION = "ipv6."
_FRAGMENT = "ipv6.fraghdr"

# What follows what a protocol says: contents, syntaxes of certificates, trailers of Ethernet.
_NO_PROTOCOL = re.compile(
    r"data|_ws\.|media|image-|png$|mp4$|xml$|json|cbor$|msgpack$|urlencoded-form$|mime_multipart$"
    r"|x509|pkix|pkcs|cms$|ess$|ber$|ns_cert_exts$|logotypecertextn$|wlancertextn$|.*_oids$"
    r"|ethertype$|.*trailer|vssmonitoring$|metamako$|exablaze$|gmhdr$|$"
)

# Protocols that carry a packet as data.
_NETWORK = ("ip", "ipv6")
_LINK = ("eth", "wlan", "fddi", "tr", "fr", "ppp", "ppp_hdlc", "sll", "mpls", "llc", "atm")
_QUOTED_BY = {"icmp": _NETWORK, "icmpv6": _NETWORK} | dict.fromkeys(
    ("sflow", "rpcap", "cflow", "openflow", *(f"openflow_v{number}" for number in range(1, 8))),
    (*_LINK, *_NETWORK),
)
_LINKS_WITH_ADDRESSES = ("eth", "wlan", "sll", "fddi")


@dataclass(frozen=True)
class Layers:
    """The chosen layer of all frames with the same `frame.protocols`.

    Positions count from 1, and -1 is the last one; None means that there is no such layer.

    Attributes:
        ip_at: position among the values of ip.*; None if the chosen layer is IPv6, or without IP.
        ipv6_at: position among the values of ipv6.*.
        tcp_at: position among the values of tcp.*.
        udp_at: position among the values of udp.*.
        fragment_at: position among the values of ipv6.fraghdr.*.
        vlan_at: position of the innermost VLAN among the values of vlan.*.
        eth_at: position of the innermost hardware addresses among the values of eth.*.
        link_at: 1 if the addresses of another link layer count: 802.11, Linux cooked or FDDI.
        above_extensions: IANA keyword of the protocol after the IPv6 extension headers, if known.
        protocol: the innermost dissector that names a protocol.
        quotes: whether the frame quotes a packet. The names in a quote are not those of this
            packet.
    """

    ip_at: int | None
    ipv6_at: int | None
    tcp_at: int | None
    udp_at: int | None
    fragment_at: int | None
    vlan_at: int
    eth_at: int
    link_at: int | None
    above_extensions: str | None
    protocol: str | None
    quotes: bool


def choose(frame_protocols: str) -> Layers:
    """Choose the layer of frames by their dissectors, such as `eth:ethertype:ip:udp:gtp:ip:tcp`."""
    dissectors = frame_protocols.split(":")
    own = _before_quote(dissectors)
    quotes = len(own) < len(dissectors)
    ip = max((index for index, name in enumerate(own) if name in ("ip", "ipv6")), default=None)
    # What lies above the chosen IP layer, as 802.11 in CAPWAP, belongs to no address of the row.
    # Ethernet always counts: of what is in a tunnel without IP, as ARP, it is all that is known.
    below = own if ip is None else own[:ip] + [name for name in own[ip:] if name == "eth"]
    link = next((name for name in reversed(below) if name in _LINKS_WITH_ADDRESSES), None)
    return Layers(
        ip_at=own.count("ip") if ip is not None and own[ip] == "ip" else None,
        ipv6_at=own.count("ipv6") if ip is not None and own[ip] == "ipv6" else None,
        tcp_at=_transport(own, ip, ("tcp",)),
        udp_at=_transport(own, ip, ("udp", "udplite")),
        fragment_at=_fragment(own, ip),
        vlan_at=own.count("vlan") if quotes else -1,
        eth_at=own.count("eth") if quotes else -1,
        link_at=None if link in ("eth", None) else 1,
        above_extensions=_above_extensions(own, ip),
        protocol=next((name for name in reversed(own) if not _NO_PROTOCOL.match(name)), None),
        quotes=quotes,
    )


def _before_quote(dissectors: list[str]) -> list[str]:
    for position, (name, following) in enumerate(pairwise(dissectors), start=1):
        if following in _QUOTED_BY.get(name, ()):
            return dissectors[:position]
    return dissectors


def _transport(own: list[str], ip: int | None, kind: tuple[str, ...]) -> int | None:
    """Return the position of the first layer of a kind above the chosen IP layer."""
    if ip is None:
        return None
    above = own[ip + 1 :]
    first = next((name for name in above if name in ("tcp", "udp", "udplite")), None)
    if first not in kind:
        return None
    return sum(name in kind for name in own[: ip + 1]) + 1


def _above_extensions(own: list[str], ip: int | None) -> str | None:
    if ip is None or own[ip] != "ipv6":
        return None
    above = own[ip + 1 :]
    last = next((name for name in above if not name.startswith(_EXTENSION)), "")
    return _AFTER_EXTENSIONS.get(last) if above and above[0].startswith(_EXTENSION) else None


def _fragment(own: list[str], ip: int | None) -> int | None:
    """Return the position of the fragment header of the chosen IP layer, the last one of all."""
    if ip is None or _FRAGMENT not in own[ip + 1 :]:
        return None
    return own.count(_FRAGMENT)
