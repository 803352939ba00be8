"""Traffic between hosts, as Ethernet frames: sessions, names, multicast.

Tunnels are in `tunnels.py`, broken frames in `odd.py`. A session alternates between two ends; an
address with a colon makes it IPv6. Public addresses are real ones, because documentation ranges
such as 192.0.2.0/24 are not globally reachable.
"""

import random
import struct
from collections.abc import Sequence
from itertools import pairwise

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from mt_pipeline_tests.building.hellos import (
    ALERT,
    SERVER_HELLO,
    application_data,
    chrome_hello,
    client_hello,
    quic_initials,
)

CLIENT, ROUTER, SERVER, OTHER_SERVER, RESOLVER = (
    "192.168.1.20",
    "192.168.1.1",
    "93.184.216.34",
    "142.250.184.206",
    "8.8.8.8",
)
CLIENT6, SERVER6 = "fd00:1::20", "2606:2800:220:1:248:1893:25c8:1946"
CLIENT_MAC, ROUTER_MAC, BROADCAST_MAC = (
    "02:00:00:00:00:20",
    "02:00:00:00:00:01",
    "ff:ff:ff:ff:ff:ff",
)
FROM_CLIENT, FROM_SERVER = True, False


def ethernet(packet: Packet, *, source: str = CLIENT_MAC, target: str = ROUTER_MAC) -> bytes:
    """Put a packet into an Ethernet frame."""
    return bytes(Ether(src=source, dst=target) / packet)


def network(source: str, target: str) -> Packet:
    """Begin an IPv4 or IPv6 packet."""
    return IPv6(src=source, dst=target) if ":" in source else IP(src=source, dst=target)


def tcp_session(
    messages: Sequence[tuple[bool, bytes]],
    *,
    client: str = CLIENT,
    server: str = SERVER,
    client_port: int = 50_000,
    server_port: int = 443,
) -> list[bytes]:
    """Make a TCP connection: handshake, one segment per message, both FINs.

    A message is whether it is from the client, and its payload.
    """
    steps = [
        (True, b"", "S"),
        (False, b"", "SA"),
        (True, b"", "A"),
        *((up, data, "PA") for up, data in messages),
        (True, b"", "FA"),
        (False, b"", "FA"),
    ]
    position = {True: 1_000, False: 5_000}  # sequence numbers
    frames = []
    for up, data, flags in steps:
        acknowledged = 0 if flags == "S" else position[not up]
        tcp = TCP(flags=flags, seq=position[up], ack=acknowledged)
        tcp.sport, tcp.dport = (client_port, server_port) if up else (server_port, client_port)
        frames.append(_sent(up, client, server, tcp / Raw(data) if data else tcp))
        position[up] += len(data) + ("S" in flags or "F" in flags)
    return frames


def tls_session(
    name: str | bytes | None = "www.example.com",
    *,
    alpn: Sequence[str] = ("h2", "http/1.1"),
    segments: int = 1,
    second_name: str | None = None,
    data_packets: int = 4,
    client: str = CLIENT,
    server: str = SERVER,
    client_port: int = 50_000,
) -> list[bytes]:
    """Make a TCP connection with a ClientHello: three packets come before it, the others after it.

    Args:
        name: server name; None for a hello without one.
        alpn: protocols offered.
        segments: over how many TCP segments the hello is spread.
        second_name: name of a second hello later in the same stream, with ALPN `http/1.1`.
        data_packets: records of application data after the hello.
        client: address.
        server: address.
        client_port: makes connections differ.
    """
    hello = client_hello(name, alpn=alpn, padding=900 if segments > 1 else 0)
    ends = [len(hello) * part // segments for part in range(segments + 1)]
    messages = [(FROM_CLIENT, hello[start:end]) for start, end in pairwise(ends)]
    messages += [(FROM_SERVER, SERVER_HELLO)]
    messages += [(index % 2 == 1, application_data(200 + index)) for index in range(data_packets)]
    if second_name is not None:
        messages += [
            (FROM_CLIENT, client_hello(second_name, alpn=("http/1.1",))),
            (FROM_SERVER, SERVER_HELLO),
            (FROM_CLIENT, application_data(99)),
        ]
    return tcp_session(messages, client=client, server=server, client_port=client_port)


def refused_tls(name: str = "refused.example.com", *, client_port: int = 50_443) -> list[bytes]:
    """Say hello as Chrome does; the server has no room for more, and ends TLS with an alert."""
    hello = chrome_hello(name)
    frames = tcp_session([(FROM_CLIENT, hello), (FROM_SERVER, ALERT)], client_port=client_port)
    full = TCP(sport=443, dport=client_port, flags="A", seq=5_001, ack=1_001 + len(hello), window=0)
    return [*frames[:4], _sent(False, CLIENT, SERVER, full), *frames[4:]]


def udp_exchange(
    messages: Sequence[tuple[bool, bytes]],
    *,
    client: str = CLIENT,
    server: str = SERVER,
    client_port: int = 40_000,
    server_port: int = 41_000,
) -> list[bytes]:
    """Send each message (from the client?, payload) as one datagram."""
    ports = {True: (client_port, server_port), False: (server_port, client_port)}
    return [
        _sent(up, client, server, UDP(sport=ports[up][0], dport=ports[up][1]) / Raw(data))
        for up, data in messages
    ]


def quic_session(
    name: str | bytes | None = "quic.example.com",
    *,
    alpn: Sequence[str] = ("h3",),
    pieces: int = 1,
    client: str = CLIENT,
    server: str = OTHER_SERVER,
    client_port: int = 51_000,
) -> list[bytes]:
    """Make a QUIC connection: client Initials with the hello in `pieces`, four short headers."""
    connection_id = struct.pack("!IHH", 0xC0FFEE00, client_port, pieces)
    initials = quic_initials(
        name, connection_id=connection_id, alpn=alpn, pieces=pieces, padding=1_400 * (pieces - 1)
    )
    noise = random.Random(client_port)  # noqa: S311 - the same captures every time
    messages = [(FROM_CLIENT, datagram) for datagram in initials]
    messages += [
        (FROM_SERVER, b"\x41" + noise.randbytes(300)),
        (FROM_CLIENT, b"\x41" + connection_id + noise.randbytes(60)),
    ] * 2
    return udp_exchange(
        messages, client=client, server=server, client_port=client_port, server_port=443
    )


def dns(
    name: str = "www.example.com",
    *,
    answer: str = SERVER,
    client: str = CLIENT,
    resolver: str = RESOLVER,
    client_port: int = 53_000,
) -> list[bytes]:
    """Ask for an address of the family of the answer, and answer."""
    kind = "AAAA" if ":" in answer else "A"
    question = DNSQR(qname=name, qtype=kind)
    ask = DNS(id=client_port, rd=1, qd=question)
    tell = DNS(
        id=client_port,
        qr=1,
        rd=1,
        ra=1,
        qd=question,
        an=DNSRR(rrname=name, type=kind, ttl=300, rdata=answer),
    )
    return udp_exchange(
        [(FROM_CLIENT, bytes(ask)), (FROM_SERVER, bytes(tell))],
        client=client,
        server=resolver,
        client_port=client_port,
        server_port=53,
    )


def mdns(name: str = "_googlecast._tcp.local") -> list[bytes]:
    """Ask all neighbours for a service, over multicast."""
    packet = (
        IP(src=CLIENT, dst="224.0.0.251", ttl=255)
        / UDP(sport=5353, dport=5353)
        / DNS(rd=0, qd=DNSQR(qname=name, qtype="PTR"))
    )
    return [ethernet(packet, target="01:00:5e:00:00:fb")]


def ssdp() -> list[bytes]:
    """Search for UPnP devices, over multicast."""
    search = (
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
        b'MAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
    )
    packet = (
        IP(src=CLIENT, dst="239.255.255.250", ttl=2) / UDP(sport=49_900, dport=1900) / Raw(search)
    )
    return [ethernet(packet, target="01:00:5e:7f:ff:fa")]


def broadcast() -> list[bytes]:
    """Send a datagram to everybody on the local network."""
    return [
        ethernet(
            IP(src=CLIENT, dst="255.255.255.255")
            / UDP(sport=34_700, dport=34_701)
            / Raw(b"hello all"),
            target=BROADCAST_MAC,
        )
    ]


def dhcp() -> list[bytes]:
    """Ask for an address, from 0.0.0.0, as the host `client`."""
    hardware = bytes.fromhex(CLIENT_MAC.replace(":", ""))
    bootp = (
        struct.pack("!BBBBIHH", 1, 1, 6, 0, 0x1234, 0, 0)
        + bytes(16)
        + hardware
        + bytes(10 + 64 + 128)
        + b"\x63\x82\x53\x63\x35\x01\x01\x0c\x06client\xff"
    )
    return [
        ethernet(
            IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / Raw(bootp),  # noqa: S104
            target=BROADCAST_MAC,
        )
    ]  # noqa: RUF100, S104


def http(host: str = "plain.example.com", *, client_port: int = 50_080) -> list[bytes]:
    """Get a page without encryption."""
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: test\r\n\r\n".encode()
    response = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    return tcp_session(
        [(FROM_CLIENT, request), (FROM_SERVER, response)], client_port=client_port, server_port=80
    )


def arp() -> list[bytes]:
    """Ask for the router's hardware address, and answer."""
    ask = ARP(op=1, hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=ROUTER)
    tell = ARP(op=2, hwsrc=ROUTER_MAC, psrc=ROUTER, hwdst=CLIENT_MAC, pdst=CLIENT)
    return [
        ethernet(ask, target=BROADCAST_MAC),
        ethernet(tell, source=ROUTER_MAC, target=CLIENT_MAC),
    ]


def ping() -> list[bytes]:
    """Send an ICMP echo request, get the reply."""
    return [
        _sent(up, CLIENT, SERVER, ICMP(type=8 if up else 0, id=7, seq=1) / Raw(b"ping" * 8))
        for up in (True, False)
    ]


def ping6() -> list[bytes]:
    """Send an ICMPv6 echo request."""
    return [_sent(True, CLIENT6, SERVER6, ICMPv6EchoRequest(id=7, seq=1, data=b"ping" * 8))]


def igmp() -> list[bytes]:
    """Join a multicast group (IGMPv2 report)."""
    report = struct.pack("!BBH4s", 0x16, 0, 0x16 ^ 0xFFFF, bytes([239, 1, 2, 3]))
    return [
        ethernet(
            IP(src=CLIENT, dst="239.1.2.3", ttl=1, proto=2) / Raw(report),
            target="01:00:5e:01:02:03",
        )
    ]


def sctp() -> list[bytes]:
    """Begin an SCTP association."""
    return [
        _sent(True, CLIENT, SERVER, SCTP(sport=36_412, dport=36_412) / SCTPChunkInit(init_tag=1))
    ]


def hop_by_hop() -> list[bytes]:
    """Send a UDP datagram behind an IPv6 hop-by-hop header."""
    return [
        ethernet(
            IPv6(src=CLIENT6, dst=SERVER6)
            / IPv6ExtHdrHopByHop()
            / UDP(sport=40_006, dport=41_006)
            / Raw(b"hop by hop" * 3)
        )
    ]


def fragments6() -> list[bytes]:
    """Send one IPv6 UDP datagram in two fragments: only the first has the ports."""
    datagram = struct.pack("!HHHH", 40_007, 4_501, 8 + 1_600, 0) + bytes(1_600)
    return [
        ethernet(
            IPv6(src=CLIENT6, dst=SERVER6)
            / IPv6ExtHdrFragment(nh=17, id=77, offset=start // 8, m=int(end < 1_608))
            / Raw(datagram[start:end])
        )
        for start, end in ((0, 1_232), (1_232, 1_608))
    ]


def fragments4(*, identity: int = 4_242, last_only: bool = False) -> list[bytes]:
    """Send one IPv4 UDP datagram in three fragments, or only its last."""
    datagram = struct.pack("!HHHH", 40_008, 4_502, 8 + 3_200, 0) + bytes(3_200)
    frames = [
        ethernet(
            IP(
                src=CLIENT,
                dst=SERVER,
                id=identity,
                proto=17,
                frag=start // 8,
                flags="MF" if end < 3_208 else 0,
            )
            / Raw(datagram[start:end])
        )
        for start, end in ((0, 1_480), (1_480, 2_960), (2_960, 3_208))
    ]
    return frames[-1:] if last_only else frames


def _sent(up: bool, client: str, server: str, packet: Packet) -> bytes:
    """Send a packet from the client (up) or from the server."""
    if up:
        return ethernet(network(client, server) / packet)
    return ethernet(network(server, client) / packet, source=ROUTER_MAC, target=CLIENT_MAC)
