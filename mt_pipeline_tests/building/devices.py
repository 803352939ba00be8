"""Devices that say their names: by DHCP, multicast DNS, NetBIOS, LLMNR and SSDP."""

from collections.abc import Sequence

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRSRV
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.netbios import NBNSHeader, NBNSQueryRequest, NBNSRegistrationRequest, NBTDatagram
from scapy.packet import Packet, Raw

from mt_pipeline_tests.building.traffic import ROUTER, ethernet, network

ECHO, ECHO_ADDRESS = "44:65:0d:a1:b2:c3", "192.168.1.21"
"""A device with a hardware address of Amazon Technologies."""

ANY_MAC, MDNS_MAC = "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"
NO_ADDRESS = "0.0.0.0"  # noqa: S104 - the source of a packet
_FILES, _WORKSTATION = 0x4341, 0x4141  # services of NetBIOS: 20 and 00


def asks_dhcp(
    host: str | bytes | None = None, *, fqdn: str | None = None, mac: str = ECHO
) -> list[bytes]:
    """Ask for an address, with a host name or a domain name."""
    options: list[object] = [("message-type", "request")]
    if host is not None:
        options.append(("hostname", host))
    if fqdn is not None:
        options.append(("client_FQDN", b"\0\0\0" + fqdn.encode()))
    hardware = bytes.fromhex(mac.replace(":", ""))
    packet = BOOTP(chaddr=hardware) / DHCP(options=[*options, "end"])
    return [_sent(mac, ANY_MAC, IP(src=NO_ADDRESS, dst="255.255.255.255"), 68, 67, packet)]


def told_dhcp(host: str, *, mac: str = "02:00:00:00:00:01") -> list[bytes]:
    """Tell a client a name by DHCP: a server does not speak of itself."""
    packet = BOOTP(op=2) / DHCP(options=[("message-type", "ack"), ("hostname", host), "end"])
    return [_sent(mac, ECHO, IP(src=ROUTER, dst=ECHO_ADDRESS), 67, 68, packet)]


def host(name: str, address: str = ECHO_ADDRESS) -> Packet:
    """Make a record of an address of a host."""
    return DNSRR(rrname=name, type="AAAA" if ":" in address else "A", rdata=address)


def service(instance: str, kind: str = "_googlecast._tcp.local") -> list[Packet]:
    """Make the records of a service."""
    return [
        DNSRR(rrname=kind, type="PTR", rdata=f"{instance}.{kind}"),
        DNSRRSRV(rrname=f"{instance}.{kind}", target="x.local", port=8009),
    ]


def says_mdns(
    *records: Packet, mac: str = ECHO, address: str = ECHO_ADDRESS, question: str | None = None
) -> list[bytes]:
    """Say records by multicast DNS, or ask a question and say which answers are known."""
    asked = [] if question is None else [DNSQR(qname=question, qtype="PTR")]
    packet = DNS(qr=question is None, aa=1, qd=asked, an=list(records))
    target = "ff02::fb" if ":" in address else "224.0.0.251"
    return [_sent(mac, MDNS_MAC, network(address, target), 5353, 5353, packet)]


def says_llmnr(
    name: str, *, about: str = ECHO_ADDRESS, mac: str = ECHO, address: str = ECHO_ADDRESS
) -> list[bytes]:
    """Answer whoever asked for a name by LLMNR."""
    packet = DNS(qr=1, qd=[DNSQR(qname=name)], an=[host(name, about)])
    return [_sent(mac, ANY_MAC, network(address, "192.168.1.9"), 5355, 60_000, packet)]


def registers_netbios(
    name: str, *, is_group: bool = False, mac: str = ECHO, address: str = ECHO_ADDRESS
) -> list[bytes]:
    """Register a name of NetBIOS: that of the service of files, or that of a group."""
    packet = NBNSHeader(OPCODE=5, QDCOUNT=1, ARCOUNT=1) / NBNSRegistrationRequest(
        QUESTION_NAME=name,
        SUFFIX=_WORKSTATION if is_group else _FILES,
        G=int(is_group),
        NB_ADDRESS=address,
    )
    return [_sent(mac, ANY_MAC, IP(src=address, dst="192.168.1.255"), 137, 137, packet)]


def asks_netbios(name: str) -> list[bytes]:
    """Ask for the address of another device."""
    packet = NBNSHeader(QDCOUNT=1) / NBNSQueryRequest(QUESTION_NAME=name, SUFFIX=_FILES)
    return [_sent(ECHO, ANY_MAC, IP(src=ECHO_ADDRESS, dst="192.168.1.255"), 137, 137, packet)]


def sends_netbios(name: str) -> list[bytes]:
    """Send a datagram of NetBIOS to a group."""
    packet = NBTDatagram(
        SourceName=name.encode(),
        SUFFIX1=_WORKSTATION,
        DestinationName=b"WORKGROUP",
        SUFFIX2=_WORKSTATION,
    ) / Raw(bytes(40))
    return [_sent(ECHO, ANY_MAC, IP(src=ECHO_ADDRESS, dst="192.168.1.255"), 138, 138, packet)]


def says_ssdp(server: str | bytes, *, mac: str = ECHO, address: str = ECHO_ADDRESS) -> list[bytes]:
    """Announce a device of UPnP with this header SERVER."""
    text = server.encode() if isinstance(server, str) else server
    packet = Raw(
        b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\n"
        b"NTS: ssdp:alive\r\nSERVER: " + text + b"\r\nUSN: uuid:x\r\n\r\n"
    )
    target = IP(src=address, dst="239.255.255.250")
    return [_sent(mac, "01:00:5e:7f:ff:fa", target, 50_000, 1900, packet)]


def _sent(
    mac: str, target: str, ip: IP | IPv6, source_port: int, target_port: int, packet: Packet
) -> bytes:
    return ethernet(
        ip / UDP(sport=source_port, dport=target_port) / packet, source=mac, target=target
    )


def everything_it_says() -> Sequence[tuple[str, str, list[bytes]]]:
    """Return source, label and frames of each way to say a name, the best first."""
    end = ECHO[-8:]
    return (
        ("dhcp", "echo-dhcp", asks_dhcp("echo-dhcp", fqdn="echo.lan")),
        ("mdns", "echo-mdns", says_mdns(host("echo-mdns.local"))),
        ("netbios", "ECHO-NB", registers_netbios("ECHO-NB")),
        ("llmnr", "echo-llmnr", says_llmnr("echo-llmnr")),
        ("mdns", "Living Room", says_mdns(*service("Living Room"))),
        ("ssdp", f"Echo/9.4.0 {end}", says_ssdp("Linux/3.1 UPnP/1.0 Echo/9.4.0")),
        (
            "mdns",
            f"_hue._tcp {end}",
            says_mdns(DNSRR(rrname="_hue._tcp.local", type="PTR", rdata="x.local")),
        ),
        ("vendor", f"Amazon Technologies Inc. {end}", says_mdns()),
    )
