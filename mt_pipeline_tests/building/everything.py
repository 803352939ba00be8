"""Complete captures: one of all kinds of frames, one that the original program understands."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from mt_pipeline_tests.building import odd, traffic, tunnels
from mt_pipeline_tests.building.files import (
    START_NS,
    Frame,
    in_time_order,
    timed,
    write_pcap,
    write_pcapng,
)
from mt_pipeline_tests.building.traffic import CLIENT, CLIENT6, OTHER_SERVER, SERVER6

YEAR_NS = 31_556_952 * 10**9
ODD_TIMES = {
    "1970": 1_000,
    "before 1970": -86_400 * 10**9 - 1_000,
    "2261": 291 * YEAR_NS,
    "beyond 2262": 330 * YEAR_NS,
    "9999": 8_029 * YEAR_NS,
    "beyond 9999": 9_000 * YEAR_NS,
    "none": None,
}
"""Times for `odd_times`: where nanoseconds, microseconds and calendars end."""


def everything(path: Path) -> Path:
    """Write a pcapng with a bit of everything, in time order, the same bytes every time.

    Odd times are in `odd_times`.
    """
    frames = in_time_order(
        [
            *_plain(),
            *_tunnelled(),
            odd.malformed(),
            odd.without_ip(),
            [odd.giant(), odd.giant(40_000)],
            *odd.odd_tls_sessions(),
        ]
    )
    frames += odd.other_link_types(start_ns=_after(frames))
    frames += odd.shortened(
        timed(traffic.tls_session("short.example.com", client_port=50_900), start_ns=_after(frames))
    )
    return write_pcapng(path, frames)


def tcp_udp_only(path: Path, *, odd_names: bool = False) -> Path:
    """Write a pcap with IPv4 TCP and UDP only: no tunnels, no fragments, nothing broken.

    With `odd_names`, it has odd server names too.
    """
    conversations = [
        *_names_of_streams(),
        traffic.quic_session(client_port=51_000),
        traffic.quic_session("pieces.example.com", pieces=2, client_port=51_001),
        traffic.dns("www.example.com", client_port=53_000),
        traffic.dns("local.example.com", resolver=traffic.ROUTER, client_port=53_001),
        traffic.mdns() + traffic.ssdp() + traffic.broadcast() + traffic.dhcp(),
        traffic.http(client_port=50_080),
        traffic.udp_exchange([(True, b"over"), (False, b"the network")], server="192.168.1.30"),
        traffic.udp_exchange(
            [(True, b"link local")],
            client="169.254.7.7",
            server="169.254.255.255",
            client_port=40_001,
        ),
        traffic.udp_exchange(
            [(True, b"loop")], client="127.0.0.1", server="127.0.0.2", client_port=40_002
        ),
        [odd.giant(32_767), odd.giant(32_768), odd.giant(200_000)],
        *(odd.odd_tls_sessions() if odd_names else []),
    ]
    return write_pcap(path, in_time_order(conversations))


def odd_times(path: Path, time_ns: int | None) -> Path:
    """Write a pcapng with a DNS question at `time_ns` and its answer at an ordinary time.

    With None, the question has no time at all.
    """
    question, answer = traffic.dns()
    seconds = 0 if time_ns is None else time_ns // 10**9
    # Microseconds since the second of the question reach the year 586,000.
    return write_pcapng(
        path,
        [Frame(question, time_ns), Frame(answer, START_NS)],
        tsresol=6,
        tsoffset=min(seconds, 0),
    )


def _names_of_streams() -> list[list[bytes]]:
    tls = traffic.tls_session
    return [
        tls("www.example.com", client_port=50_000),
        tls("split.example.com", segments=3, client_port=50_001),
        tls("first.example.com", second_name="second.example.com", client_port=50_002),
        tls(None, alpn=("h2",), client_port=50_003),
        tls("noalpn.example.com", alpn=(), client_port=50_004, server=OTHER_SERVER),
        tls(
            "www.example.com",
            client_port=50_005,
            server=OTHER_SERVER,
            client=CLIENT.replace("20", "21"),
        ),
    ]


def _plain() -> list[list[bytes]]:
    tls = traffic.tls_session
    return [
        *_names_of_streams(),
        tls("six.example.com", client=CLIENT6, server=SERVER6, client_port=50_006),
        traffic.quic_session(client_port=51_000),
        traffic.quic_session("pieces.example.com", pieces=2, client_port=51_001),
        traffic.quic_session(
            "quic6.example.com", client=CLIENT6, server=SERVER6, client_port=51_002
        ),
        traffic.dns(),
        traffic.dns("six.example.com", answer=SERVER6, client_port=53_001),
        traffic.http(),
        traffic.refused_tls(),
        *(
            make()
            for make in (
                traffic.mdns,
                traffic.ssdp,
                traffic.broadcast,
                traffic.dhcp,
                traffic.arp,
                traffic.ping,
                traffic.ping6,
                traffic.igmp,
            )
        ),
        *(
            make()
            for make in (traffic.sctp, traffic.hop_by_hop, traffic.fragments6, traffic.fragments4)
        ),
        traffic.fragments4(identity=4_243, last_only=True),
        traffic.fragments6()[1:],
    ]


def _tunnelled() -> list[list[bytes]]:
    ports = count(56_000)

    def carried(wrap: Callable[[bytes], bytes], name: str, *, v6: bool = False) -> list[bytes]:
        ends = {"client": CLIENT6, "server": SERVER6} if v6 else {}
        return [
            wrap(frame)
            for frame in traffic.tls_session(
                f"{name}.example.com", client_port=next(ports), data_packets=1, **ends
            )
        ]

    question = traffic.dns("unreachable.example.com", client_port=53_010)[0]
    syn, *_, fin = traffic.tls_session("quoted.example.com", client_port=50_020, data_packets=0)
    question6 = traffic.dns(
        "unreachable6.example.com",
        client=CLIENT6,
        resolver="2001:4860:4860::8888",
        client_port=53_011,
    )[0]
    return [
        carried(lambda frame: tunnels.vlan(frame, 7), "vlan"),
        carried(lambda frame: tunnels.vlan(frame, 100, 8), "qinq"),
        carried(tunnels.gre, "gre"),
        carried(tunnels.gre, "gre6", v6=True),
        carried(tunnels.ip_in_ip, "ipip"),
        carried(tunnels.ip_in_ip, "6in4", v6=True),
        carried(tunnels.ip_in_ipv6, "4in6"),
        carried(tunnels.gtp_u, "gtp"),
        carried(tunnels.teredo, "teredo", v6=True),
        carried(tunnels.vxlan, "vxlan"),
        carried(lambda frame: tunnels.vxlan(tunnels.vlan(frame, 9)), "vxlan-vlan"),
        [question, tunnels.icmp_error(question)],
        [syn, tunnels.icmp_error(syn, kind=11, code=0), fin, tunnels.gre(tunnels.icmp_error(fin))],
        [question6, tunnels.icmpv6_error(question6)],
    ]


def _after(frames: list[Frame]) -> int:
    return (frames[-1].time_ns or 0) + 1_000_003
