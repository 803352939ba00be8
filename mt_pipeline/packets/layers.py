"""The layer of a frame that a row describes, chosen once per distinct `frame.protocols`.

The address pair, protocol, ports and stream of a row belong to ONE layer: the innermost IP layer,
inside any tunnel, but never in the packet that an ICMP error quotes. tshark lists the values of a
field outermost first, so the position of a layer among those of its kind identifies it.
"""

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
_NO_PROTOCOL = ("data", "x509", "pkix", "image-", "media", "_ws.")


@dataclass(frozen=True)
class Layers:
    """The chosen layer of all frames with the same `frame.protocols`.

    Positions count from 1; None means that there is no such layer.

    Attributes:
        ip_at: position among the values of ip.*; None if the chosen layer is IPv6, or without IP.
        ipv6_at: position among the values of ipv6.*.
        tcp_at: position among the values of tcp.*.
        udp_at: position among the values of udp.*.
        above_extensions: IANA keyword of the protocol after the IPv6 extension headers, if known.
        protocol: the innermost dissector that names a protocol.
        quotes: whether the frame is an ICMP error that quotes a packet. The names in a quote are
            not those of this packet.
    """

    ip_at: int | None
    ipv6_at: int | None
    tcp_at: int | None
    udp_at: int | None
    above_extensions: str | None
    protocol: str | None
    quotes: bool


def choose(frame_protocols: str) -> Layers:
    """Choose the layer of frames by their dissectors, such as `eth:ethertype:ip:udp:gtp:ip:tcp`."""
    dissectors = frame_protocols.split(":")
    own = _before_quote(dissectors)
    ip = max((index for index, name in enumerate(own) if name in ("ip", "ipv6")), default=None)
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
    for position, (name, following) in enumerate(pairwise(dissectors), start=1):
        if name in ("icmp", "icmpv6") and following in ("ip", "ipv6"):
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
