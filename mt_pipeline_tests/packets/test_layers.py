"""The layer of a frame that is chosen by its `frame.protocols`."""

from dataclasses import replace

import pytest

from mt_pipeline.packets import layers
from mt_pipeline.packets.layers import Layers

NO_LINK = {
    "vlan_at": -1,
    "eth_at": -1,
    "link_at": None,
}


def choose(protocols: str) -> Layers:
    """Choose all but the link layer, which has tests of its own."""
    return replace(layers.choose(protocols), **NO_LINK)


def chosen(
    *,
    protocol: str | None,
    ip: int | None = None,
    ipv6: int | None = None,
    tcp: int | None = None,
    udp: int | None = None,
    fragment: int | None = None,
    above_extensions: str | None = None,
    quotes: bool = False,
) -> Layers:
    """Say what is expected; what is left out is not there."""
    return Layers(
        ip_at=ip,
        ipv6_at=ipv6,
        tcp_at=tcp,
        udp_at=udp,
        fragment_at=fragment,
        **NO_LINK,
        above_extensions=above_extensions,
        protocol=protocol,
        quotes=quotes,
    )


PLAIN = {
    "eth:ethertype:ip:tcp": chosen(ip=1, tcp=1, protocol="tcp"),
    "eth:ethertype:ip:tcp:tls": chosen(ip=1, tcp=1, protocol="tls"),
    "eth:ethertype:ip:tcp:tls:http2:http2:http2": chosen(ip=1, tcp=1, protocol="http2"),
    "eth:ethertype:ip:udp:dns": chosen(ip=1, udp=1, protocol="dns"),
    "eth:ethertype:ip:udplite:rtp": chosen(ip=1, udp=1, protocol="rtp"),
    "eth:ethertype:ipv6:udp:quic:tls": chosen(ipv6=1, udp=1, protocol="tls"),
    "eth:ethertype:ip:icmp": chosen(ip=1, protocol="icmp"),
    "eth:ethertype:ip:igmp:igmp": chosen(ip=1, protocol="igmp"),
    "eth:ethertype:ip:sctp": chosen(ip=1, protocol="sctp"),
    "eth:ethertype:ip:esp": chosen(ip=1, protocol="esp"),
    "eth:ethertype:ip:ah:tcp": chosen(ip=1, tcp=1, protocol="tcp"),
    "eth:ethertype:vlan:ethertype:ip:tcp": chosen(ip=1, tcp=1, protocol="tcp"),
    "raw:ip:udp:dns": chosen(ip=1, udp=1, protocol="dns"),
    "sll:ethertype:ipv6:tcp": chosen(ipv6=1, tcp=1, protocol="tcp"),
}
WITHOUT_IP = {
    "eth:ethertype:arp": chosen(protocol="arp"),
    "eth:llc:stp": chosen(protocol="stp"),
    "eth": chosen(protocol="eth"),
    # Transport without an IP layer of its own belongs to no address.
    "eth:ethertype:6lowpan:tcp": chosen(protocol="tcp"),
    "user_dlt:udp:data": chosen(protocol="udp"),
}
TUNNELS = {
    "eth:ethertype:ip:gre:ip:tcp:tls": chosen(ip=2, tcp=1, protocol="tls"),
    "eth:ethertype:ip:gre:ipv6:tcp": chosen(ipv6=1, tcp=1, protocol="tcp"),
    "eth:ethertype:ip:ip:tcp": chosen(ip=2, tcp=1, protocol="tcp"),
    "eth:ethertype:ip:ip:ip:udp:dns": chosen(ip=3, udp=1, protocol="dns"),
    "eth:ethertype:ipv6:ip:udp": chosen(ip=1, udp=1, protocol="udp"),
    "eth:ethertype:ip:ipv6:ip:udp": chosen(ip=2, udp=1, protocol="udp"),
    "eth:ethertype:ip:udp:gtp:ip:tcp:tls": chosen(ip=2, tcp=1, protocol="tls"),
    "eth:ethertype:ip:udp:gtp:ip:udp:dns": chosen(ip=2, udp=2, protocol="dns"),
    "eth:ethertype:ip:udp:teredo:ipv6:tcp": chosen(ipv6=1, tcp=1, protocol="tcp"),
    "eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:udp": chosen(
        ip=3, udp=3, protocol="udp"
    ),
    "eth:ethertype:ip:tcp:socks:ip:tcp": chosen(ip=2, tcp=2, protocol="tcp"),
    "eth:ethertype:ip:udplite:gtp:ip:udp": chosen(ip=2, udp=2, protocol="udp"),
    # The ports of the tunnel are not those of what it carries.
    "eth:ethertype:ip:udp:gtp:ip:icmp:data": chosen(ip=2, protocol="icmp"),
    "eth:ethertype:ip:udp:gtp:ip:data": chosen(ip=2, protocol="ip"),
    "eth:ethertype:ip:udp:gtp": chosen(ip=1, udp=1, protocol="gtp"),
    "eth:ethertype:ip:udp:vxlan:eth:ethertype:arp": chosen(ip=1, udp=1, protocol="arp"),
    # The payload of TCP or UDP that claims to be the other.
    "eth:ethertype:ip:tcp:rtsp:udp": chosen(ip=1, tcp=1, protocol="udp"),
    "eth:ethertype:ip:udp:tcp": chosen(ip=1, udp=1, protocol="tcp"),
}
QUOTES = {
    "eth:ethertype:ip:icmp:ip:udp:dns": chosen(ip=1, protocol="icmp", quotes=True),
    "eth:ethertype:ip:icmp:ip:tcp:tls": chosen(ip=1, protocol="icmp", quotes=True),
    "eth:ethertype:ipv6:icmpv6:ipv6:tcp": chosen(ipv6=1, protocol="icmpv6", quotes=True),
    "eth:ethertype:ip:gre:ip:icmp:ip:tcp": chosen(ip=2, protocol="icmp", quotes=True),
    "eth:ethertype:ip:udp:gtp:ip:icmp:ip:udp:gtp:ip:tcp": chosen(
        ip=2, protocol="icmp", quotes=True
    ),
    "eth:ethertype:ip:icmp:ip:icmp:ip:tcp": chosen(ip=1, protocol="icmp", quotes=True),
    "eth:ethertype:ip:ipv6:icmpv6:ipv6:udp": chosen(ipv6=1, protocol="icmpv6", quotes=True),
    "eth:ethertype:ip:icmp:ipv6:udp": chosen(ip=1, protocol="icmp", quotes=True),
    "eth:ethertype:ipv6:ipv6.hopopts:icmpv6:ipv6": chosen(
        ipv6=1, above_extensions="IPv6-ICMP", protocol="icmpv6", quotes=True
    ),
    "eth:ethertype:ip:icmp:data": chosen(ip=1, protocol="icmp"),
    "eth:ethertype:ip:udp:sflow:eth:ethertype:ip:tcp:eth:ethertype:ip:udp:dns": chosen(
        ip=1, udp=1, protocol="sflow", quotes=True
    ),
    "eth:ethertype:ip:udp:sflow:ip:tcp:tls": chosen(ip=1, udp=1, protocol="sflow", quotes=True),
    "eth:ethertype:ip:udp:sflow": chosen(ip=1, udp=1, protocol="sflow"),
    "eth:ethertype:ip:tcp:openflow:openflow_v4:eth:ethertype:arp:openflow:openflow_v4": chosen(
        ip=1, tcp=1, protocol="openflow_v4", quotes=True
    ),
    "eth:ethertype:ip:tcp:openflow_v1:eth:ethertype:ip:tcp": chosen(
        ip=1, tcp=1, protocol="openflow_v1", quotes=True
    ),
    "eth:ethertype:ip:tcp:rpcap:eth:ethertype:ip:tcp:tls": chosen(
        ip=1, tcp=1, protocol="rpcap", quotes=True
    ),
    "eth:ethertype:ip:udp:cflow:eth:ethertype:ip:udp": chosen(
        ip=1, udp=1, protocol="cflow", quotes=True
    ),
}
EXTENSIONS = {
    "eth:ethertype:ipv6:ipv6.hopopts:udp:data": chosen(
        ipv6=1, udp=1, above_extensions="UDP", protocol="udp"
    ),
    "eth:ethertype:ipv6:ipv6.hopopts:icmpv6": chosen(
        ipv6=1, above_extensions="IPv6-ICMP", protocol="icmpv6"
    ),
    "eth:ethertype:ipv6:ipv6.hopopts:ipv6.dstopts:ipv6.routing:ipv6.fraghdr:tcp:tls": chosen(
        ipv6=1, tcp=1, fragment=1, above_extensions="TCP", protocol="tls"
    ),
    "eth:ethertype:ipv6:ipv6.fraghdr:data": chosen(ipv6=1, fragment=1, protocol="ipv6.fraghdr"),
    "eth:ethertype:ipv6:ipv6.fraghdr:ipv6:ipv6.fraghdr:data": chosen(
        ipv6=2, fragment=2, protocol="ipv6.fraghdr"
    ),
    # A fragment of the tunnel is none of what is in it.
    "eth:ethertype:ipv6:ipv6.fraghdr:ipv6:udp": chosen(ipv6=2, udp=1, protocol="udp"),
    "eth:ethertype:ipv6:ipv6.hopopts": chosen(ipv6=1, protocol="ipv6.hopopts"),
    "eth:ethertype:ipv6:ipv6.dstopts:ipv6:udp": chosen(ipv6=2, udp=1, protocol="udp"),
    "eth:ethertype:ipv6:ipv6.routing:ip:tcp": chosen(ip=1, tcp=1, protocol="tcp"),
    "eth:ethertype:ipv6:ipv6.dstopts:esp": chosen(ipv6=1, above_extensions="ESP", protocol="esp"),
    "eth:ethertype:ipv6:ipv6.dstopts:sctp": chosen(
        ipv6=1, above_extensions="SCTP", protocol="sctp"
    ),
    # An unknown protocol: its number is the name.
    "eth:ethertype:ipv6:ipv6.dstopts:mipv6": chosen(ipv6=1, protocol="mipv6"),
    # Without extension headers, the header's own number is right.
    "eth:ethertype:ipv6:udp": chosen(ipv6=1, udp=1, protocol="udp"),
}
NO_PROTOCOL = {
    "eth:ethertype:ip:tcp:http:data-text-lines": chosen(ip=1, tcp=1, protocol="http"),
    "eth:ethertype:ip:tcp:http:media": chosen(ip=1, tcp=1, protocol="http"),
    "eth:ethertype:ip:tcp:http:image-gif": chosen(ip=1, tcp=1, protocol="http"),
    "eth:ethertype:ip:tcp:tls:x509sat:x509sat:x509ce:x509ce:pkix1implicit:x509sat": chosen(
        ip=1, tcp=1, protocol="tls"
    ),
    "eth:ethertype:ip:tcp:data": chosen(ip=1, tcp=1, protocol="tcp"),
    "eth:ethertype:ip:tcp:_ws.malformed": chosen(ip=1, tcp=1, protocol="tcp"),
    "eth:ethertype:ip:_ws.short": chosen(ip=1, protocol="ip"),
    **{
        f"eth:ethertype:ip:tcp:tls:{syntax}": chosen(ip=1, tcp=1, protocol="tls")
        for syntax in ("pkcs-1", "ns_cert_exts", "logotypecertextn", "cms", "tcg-cp_oids")
    },
    **{
        f"eth:ethertype:ip:tcp:http:{content}": chosen(ip=1, tcp=1, protocol="http")
        for content in ("xml", "json", "json_3gpp", "urlencoded-form", "mime_multipart", "png")
    },
    **{
        f"eth:ethertype:ip:tcp:http:{trailer}": chosen(ip=1, tcp=1, protocol="http")
        for trailer in ("f5ethtrailer", "f5ethtrailer:f5ethtrailer.tls", "gmtrailer", "metamako")
    },
    "eth:ethertype": chosen(protocol="eth"),
    "eth:ethertype:ip:tcp:xmpp:xml": chosen(ip=1, tcp=1, protocol="xmpp"),
    "eth:ethertype:ip:tcp:essp": chosen(ip=1, tcp=1, protocol="essp"),
    "_ws.short": chosen(protocol=None),
    "eth:_ws.malformed": chosen(protocol="eth"),
}


@pytest.mark.parametrize(("protocols", "expected"), [*PLAIN.items(), *WITHOUT_IP.items()])
def test_the_layer_of_a_plain_frame_is_its_ip_layer(protocols: str, expected: Layers):
    assert choose(protocols) == expected


@pytest.mark.parametrize(("protocols", "expected"), TUNNELS.items())
def test_tunnels_are_opened_to_the_innermost_ip_layer(protocols: str, expected: Layers):
    assert choose(protocols) == expected


@pytest.mark.parametrize(("protocols", "expected"), QUOTES.items())
def test_the_packet_that_an_icmp_error_quotes_is_never_chosen(protocols: str, expected: Layers):
    assert choose(protocols) == expected


@pytest.mark.parametrize(("protocols", "expected"), EXTENSIONS.items())
def test_behind_extension_headers_the_dissector_tells_the_protocol(
    protocols: str, expected: Layers
):
    assert choose(protocols) == expected


@pytest.mark.parametrize(("protocols", "expected"), NO_PROTOCOL.items())
def test_what_a_protocol_carries_is_no_protocol(protocols: str, expected: Layers):
    assert choose(protocols) == expected


LINKS = {
    "eth:ethertype:ip:tcp": {},
    "eth:ethertype:vlan:ethertype:ip:udp:vxlan:eth:ethertype:vlan:ethertype:ip": {},
    "eth:ethertype:ip:udp:vxlan:eth:ethertype:arp": {},
    "eth:ethertype:ip:icmp:ip:udp:vxlan:eth:ethertype:vlan:ethertype:ip": {
        "eth_at": 1,
        "vlan_at": 0,
    },
    "eth:ethertype:vlan:ethertype:ip:udp:sflow:eth:ethertype:vlan:ethertype:ip": {
        "eth_at": 1,
        "vlan_at": 1,
    },
    "radiotap:wlan_radio:wlan:llc:ip:tcp": {"link_at": 1},
    "eth:ethertype:ip:udp:capwap.data:wlan:llc:ip": {"link_at": 1},
    "eth:ethertype:ip:udp:capwap.data:wlan": {},
    "wlan:llc:arp": {"link_at": 1},
    "wlan:llc:ip:udp:vxlan:eth:ethertype:ip": {},
    "sll:ethertype:ip:tcp": {"link_at": 1},
    "fddi:llc:ip:tcp": {"link_at": 1},
    "raw:ip:tcp": {},
}


@pytest.mark.parametrize(("protocols", "expected"), LINKS.items())
def test_hardware_addresses_are_the_innermost_outside_of_a_quote(
    protocols: str, expected: dict[str, object]
):
    """Regression: the addresses and the VLAN of a quoted frame were those of the row."""
    found = layers.choose(protocols)
    assert {name: getattr(found, name) for name in NO_LINK} == NO_LINK | expected
