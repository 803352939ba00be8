"""Which layer of a frame a row speaks of, decided once per distinct `frame.protocols` (a few hundred in any capture).

The address pair, protocol, ports and stream of a row belong to ONE layer: the innermost IP layer, tunnels opened, but never the
packet that an ICMP error quotes. tshark gives a field's values outermost first, so a layer is its place among those of its kind.
"""

from dataclasses import dataclass
from itertools import pairwise

# Where IPv6 extension headers come before it, `ipv6.nxt` names the first of these, and only the dissector tells the protocol.
_AFTER_EXTENSIONS = {
    "tcp": "TCP", "udp": "UDP", "udplite": "UDPLite", "icmpv6": "IPv6-ICMP", "sctp": "SCTP", "dccp": "DCCP", "esp": "ESP", "ah": "AH",
    "gre": "GRE", "ip": "IPv4", "ipv6": "IPv6", "ospf": "OSPFIGP", "pim": "PIM", "vrrp": "VRRP", "l2tp": "L2TP", "etherip": "ETHERIP",
}  # fmt: skip
_EXTENSION = "ipv6."
_NO_PROTOCOL = ("data", "x509", "pkix", "image-", "media", "_ws.")


@dataclass(frozen=True)
class Layers:
    """The chosen layer of all frames with the same `frame.protocols`; places count from 1, None where there is no such layer.

    Attributes:
        ip_at: place among the values of ip.*; None if the chosen layer is IPv6 or the frame has no IP.
        ipv6_at: place among the values of ipv6.*.
        tcp_at: place among the values of tcp.*.
        udp_at: place among the values of udp.*.
        above_extensions: IANA keyword of what follows the extension headers of IPv6, if there are any and it is known.
        protocol: the innermost dissector that names a protocol.
        quotes: whether the frame is an ICMP error with a quoted packet, whose names are not this packet's.
    """

    ip_at: int | None
    ipv6_at: int | None
    tcp_at: int | None
    udp_at: int | None
    above_extensions: str | None
    protocol: str | None
    quotes: bool


def choose(frame_protocols: str) -> Layers:
    """Choose the layer of frames with these dissectors, for example `eth:ethertype:ip:udp:gtp:ip:tcp:tls`."""
    dissectors = frame_protocols.split(":")
    own = _before_quote(dissectors)
    ip = max((place for place, name in enumerate(own) if name in ("ip", "ipv6")), default=None)
    return Layers(
        ip_at=own.count("ip") if ip is not None and own[ip] == "ip" else None,
        ipv6_at=own.count("ipv6") if ip is not None and own[ip] == "ipv6" else None,
        tcp_at=_transport(own, ip, ("tcp",)),
        udp_at=_transport(own, ip, ("udp", "udplite")),
        above_extensions=_above_extensions(own, ip),
        protocol=next(
            (name for name in reversed(own) if name and not name.startswith(_NO_PROTOCOL)), None
        ),
        quotes=len(own) < len(dissectors),
    )


def _before_quote(dissectors: list[str]) -> list[str]:
    for place, (name, following) in enumerate(pairwise(dissectors), start=1):
        if name in ("icmp", "icmpv6") and following in ("ip", "ipv6"):
            return dissectors[:place]
    return dissectors


def _transport(own: list[str], ip: int | None, kind: tuple[str, ...]) -> int | None:
    """Find the first layer of a kind above the chosen IP layer, as its place among all of that kind."""
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
